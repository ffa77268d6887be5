"""Reading and writing YAML; nowhere else does anything parse it."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from taskgroup.errors import ConfigError, DataError

DEEPEST = 32
"""Mappings and lists inside one another; a space needs eight."""
MOST_VALUES = 10_000
"""Keys and values of a file, those that aliases repeat included."""
PLAIN = (str, int, float, list, dict, type(None))


class _Loader(yaml.SafeLoader):
    """The safe loader for plain data: text, numbers, lists, mappings, of a size that can be meant.

    A key may stand once only, and ``1e-3`` is a number.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose one value, with all that its aliases repeat."""
        self._depth += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        if self._depth > DEEPEST:
            raise _marked(f"values lie more than {DEEPEST} levels deep", mark)
        node = super().compose_node(parent, index)
        assert node is not None  # there was an event
        self._depth -= 1
        if is_alias and node not in self._sizes:
            raise _marked("an alias stands inside what it repeats", mark)
        if not is_alias:
            self._sizes[node] = 1 + sum(self._sizes[child] for child in _children(node))
        if max(self._sizes[node], len(self._sizes)) > MOST_VALUES:
            raise _marked(f"more than {MOST_VALUES} keys and values stand here", mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose one mapping; PyYAML would silently keep the last of two equal keys."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in keys.items():
            if count > 1:
                line = node.start_mark.line + 1
                raise yaml.YAMLError(
                    f"key {key!r} stands twice in the mapping that begins in line {line}; "
                    "remove one"
                )
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build the value of a node; PyYAML would not say where a date or number is impossible."""
        try:
            value = super().construct_object(node, deep=deep)
        except ValueError as error:
            problem = str(error)
        except (AttributeError, KeyError):  # what PyYAML raises for a wrong !!timestamp or !!bool
            problem = f"{node.value!r} does not fit the tag {node.tag!r}"
        else:
            if not isinstance(value, PLAIN):
                problem = f"YAML reads {node.value!r} as a {type(value).__name__}"
            elif isinstance(value, int) and not -(2**63) <= value < 2**63:
                problem = f"the number {_cut(str(node.value))} does not fit 64 bits"
            else:
                return value
        raise _marked(problem, node.start_mark)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _marked(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _cut(text: str) -> str:
    """The beginning of a text that may be very long."""
    return text if len(text) <= 40 else f"{text[:40]}..."


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read one YAML mapping with the safe loader.

    Raises:
        DataError: The file is missing or unreadable.
        ConfigError: It is no YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} must be a readable text file: {error}") from None
    return parse_yaml(text, source=str(path))


def parse_yaml(text: str, *, source: str) -> Mapping[str, Any]:
    """Parse one YAML mapping.

    Args:
        text: The YAML text.
        source: Where it comes from, for messages.

    Raises:
        ConfigError: It is no YAML, or not a mapping.
    """
    values = parse_yaml_value(text, source=source)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source} must hold a mapping of keys, got {type(values).__name__}")
    return values


def parse_yaml_value(text: str, *, source: str) -> object:
    """Parse any YAML value: a number, text, a list, a mapping.

    Args:
        text: The YAML text.
        source: Where it comes from, for messages.

    Raises:
        ConfigError: It is no YAML, or a mapping holds a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} must be YAML: {_described(error, text)}") from None


def _described(error: yaml.YAMLError, text: str) -> str:
    """One line for a mistake in YAML: what it is, where, what to do."""
    if isinstance(error, ReaderError):
        before = text[: error.position].splitlines() or [""]
        problem, line, column = error.reason, len(before), len(before[-1]) + 1
    elif isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark, begin = error.problem_mark, error.context_mark
        problem, line, column = str(error.problem), mark.line + 1, mark.column + 1
        if begin is not None and begin.line < mark.line:
            problem += f" {error.context} that begins in line {begin.line + 1}"
    else:
        return str(error)
    advice = "correct it there, or put the value in quotes"
    return f"line {line}, column {column}: {problem}; {advice}"


def to_yaml(values: object) -> str:
    """Write plain data as YAML in the order given."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
