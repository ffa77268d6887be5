"""Nested mappings by dotted key."""

from collections.abc import Mapping
from typing import Any


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by dotted key; an empty mapping is a leaf.

    Example:
        >>> flat({"search": {"trials": 4, "proxy": {}}})
        {'search.trials': 4, 'search.proxy': {}}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            found |= flat(value, name)
        else:
            found[name] = value
    return found
