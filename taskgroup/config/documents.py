"""Reading and writing YAML; nowhere else does anything parse it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from taskgroup.errors import ConfigError, DataError


class _Loader(yaml.SafeLoader):
    """The safe loader, but a key may stand once only and ``1e-3`` is a number."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose one mapping; PyYAML would silently keep the last of two equal keys."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise yaml.YAMLError(
                    f"key {key!r} stands twice in the mapping that begins in line {line}; "
                    "remove one"
                )
        return node


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
    except (yaml.YAMLError, ValueError) as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"{source} must be YAML: {line}") from None


def to_yaml(values: object) -> str:
    """Write plain data as YAML in the order given."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
