"""Mutated spaces: each is ok, and draws trials, or is refused by one line, in about a second."""

import copy
import random
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from taskgroup.cli import app
from taskgroup.search.space.find import list_spaces

pytestmark = pytest.mark.slow
VALUES, TEXTS = 4000, 2000
LIMIT_SECONDS = {"refused": 3.0, "ok": 10.0}  # the first networks and data sets take seconds
ODD = (
    *(None, True, False, -1, 0, 1, 2, 0.5, 1e-300, 1e300, 10**21, -(2**63) - 1, 2**32),
    *(float("nan"), float("inf"), "", " ", "8/255", "1/0", "nan", "null", "é", "a" * 5000, "../.."),
    *("\0", "segmentation", [], {}, [[]], [None], [[1, [2, [3]]]], {1: 2}, {None: None}, {"": ""}),
    *({"choice": []}, {"choice": [1, "1", None]}, {"choice": [[1]]}, {"choice": {"a": 1}}),
    *({"uniform": [1, 0]}, {"uniform": [0, float("inf")]}, {"uniform": ["a", "b"]}),
    *({"loguniform": [0, 1]}, {"loguniform": [1e-9, 1e9]}, {"quniform": [0, 1, 0]}),
    *({"randint": [5, 1]}, {"randint": [0, 10**20]}, {"subsets": []}),
    *({"min": 1}, {"max": -1}, {"number": 3, "label": "x"}),
)
PIECES = (
    *("\t", "\0", "\x85", "\ufeff", "- ", ": ", "&a ", "*a", "!!python/object:os.system "),
    *("<<: *a\n", "{", "}", "[", "]", "'", '"', "|", ">", "%", "---\n", "...\n", "? ", "#"),
    *("2026-11-30", "0x1F", "1_000", "é"),
)
FAULTS = ("odd", "odd", "odd", "gone", "wrapped", "renamed", "foreign", "text", "scaled")


def places(value, path=()):
    """Every place in nested mappings and lists, as the keys that lead there."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


def mutate_values(space, chance):
    """One to three odd values, keys lost, renamed, doubled or exchanged."""
    changed = copy.deepcopy(space)
    for _ in range(chance.randrange(1, 4)):
        found = list(places(changed))
        if not found:
            break
        *path, last = chance.choice(found)
        holder = changed
        for key in path:
            holder = holder[key]
        match chance.choice(FAULTS):
            case "odd":
                holder[last] = copy.deepcopy(chance.choice(ODD))
            case "gone":
                del holder[last]
            case "wrapped":
                holder[last] = [holder[last]]
            case "renamed" if isinstance(holder, dict):
                holder[chance.choice(["x", 3, f"{last}s", str(last).upper()])] = holder.pop(last)
            case "foreign":
                *other, name = chance.choice(found)
                source = changed
                for key in other:
                    source = source[key]
                holder[last] = copy.deepcopy(source[name])
            case "text":
                holder[last] = str(holder[last])
            case "scaled" if isinstance(holder[last], int | float):
                holder[last] *= chance.choice([-1, 0, 0.5, 1e3, 1e12])
    return yaml.safe_dump(changed, allow_unicode=True, sort_keys=False).encode()


def mutate_text(text, chance):
    """One fault of a text: lost, doubled, moved or foreign characters."""
    lines = text.splitlines(keepends=True)
    number = chance.randrange(len(lines))
    match chance.choice(["piece", "piece", "lost", "doubled", "indented", "cut", "joined", "byte"]):
        case "piece":
            spot = chance.randrange(len(text))
            return (text[:spot] + chance.choice(PIECES) + text[spot:]).encode()
        case "lost":
            del lines[number]
        case "doubled":
            lines.insert(chance.randrange(len(lines)), lines[number])
        case "indented":
            lines[number] = " " * chance.randrange(1, 5) + lines[number]
        case "cut":
            return text[: chance.randrange(len(text))].encode()
        case "joined":
            lines[number] = lines[number].rstrip("\n")
        case "byte":
            content = bytearray(text.encode())
            content[chance.randrange(len(content))] = chance.randrange(256)
            return bytes(content)
    return "".join(lines).encode()


@pytest.fixture(scope="module")
def spaces():
    """The text of every space that is shipped; the first check imports everything."""
    CliRunner().invoke(app, ["spaces", "check", "smoke"])
    return [path.read_text(encoding="utf-8") for path in map(Path, list_spaces().values())]


def check(path, tally):
    """`spaces check` answers by ok or one line, and soon."""
    began = time.process_time()
    result = CliRunner().invoke(app, ["spaces", "check", str(path)])
    seconds = time.process_time() - began
    outcome = "refused" if result.exit_code else "ok"
    tally["mutated spaces", outcome] += 1
    text = path.read_text(encoding="utf-8", errors="replace")
    assert isinstance(result.exception, SystemExit | None), f"{result.exception!r}\n{text}"
    assert seconds < LIMIT_SECONDS[outcome], f"{seconds:.1f} s\n{text}"
    if outcome == "ok":
        assert f"{path}: ok, " in result.output
    else:
        assert len(result.stderr.strip().splitlines()) == 1, f"{result.stderr}\n{text}"


def test_odd_values_are_answered_by_one_line(spaces, tally, tmp_path):
    chance = random.Random(0)
    parsed = [yaml.safe_load(text) for text in spaces]
    for number in range(VALUES):
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(mutate_values(chance.choice(parsed), chance))
        check(path, tally)


def test_odd_texts_are_answered_by_one_line(spaces, tally, tmp_path):
    chance = random.Random(1)
    for number in range(TEXTS):
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(mutate_text(chance.choice(spaces), chance))
        check(path, tally)
