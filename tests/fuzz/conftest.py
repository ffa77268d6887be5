"""Ways to spoil a file, drawn from a seed."""

import random
from collections import Counter

import pytest

from taskgroup.errors import DataError


def spoil(content: bytes, chance: random.Random) -> bytes:
    """One random fault of a file: flipped bits, lost, doubled, moved, foreign or empty parts."""
    end = len(content)
    first = chance.randrange(end)
    last = min(end, first + chance.choice([1, 2, 16, 512]))
    kind = chance.choice(["bit", "bits", "cut", "lost", "doubled", "zeros", "noise", "tail"])
    changed = bytearray(content)
    match kind:
        case "bit":
            changed[first] ^= 1 << chance.randrange(8)
        case "bits":
            for _ in range(chance.randrange(2, 20)):
                changed[chance.randrange(end)] ^= 1 << chance.randrange(8)
        case "cut":
            del changed[first:]
        case "lost":
            del changed[first:last]
        case "doubled":
            changed[first:first] = content[first:last]
        case "zeros":
            changed[first:last] = bytes(last - first)
        case "noise":
            changed[first:last] = chance.randbytes(last - first)
        case "tail":
            changed += chance.randbytes(last - first)
    return bytes(changed)


@pytest.fixture(scope="session")
def spoiled():
    """``spoiled(content, chance)`` is the content of a file with one random fault."""
    return spoil


def read_or_refuse(read, name):
    """What ``read()`` gives, or None where it refuses by one line that names the file."""
    try:
        return read()
    except DataError as error:
        message = str(error)
    assert "\n" not in message
    assert str(name) in message
    return None


@pytest.fixture(scope="session")
def read_or_refused():
    """``read_or_refused(read, name)`` gives None where ``read()`` names the file in one line."""
    return read_or_refuse


@pytest.fixture(scope="session")
def tally():
    """Counts outcomes by test; told at the end, for docs/security.md."""
    counts = Counter()
    yield counts
    for (what, outcome), number in sorted(counts.items()):
        print(f"{what}: {number} {outcome}")
