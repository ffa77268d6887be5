"""``--fix key=value``: pin any key of a search space from the command line."""

from collections.abc import Iterable, Mapping
from typing import Any

from taskgroup.config import parse_yaml_value
from taskgroup.errors import ConfigError
from taskgroup.search.space.distributions import DISTRIBUTIONS


def apply_fixes(values: Mapping[str, Any], fixes: Iterable[str]) -> dict[str, Any]:
    """A copy of a space's plain data with some keys pinned.

    Args:
        values: Plain data of the space.
        fixes: ``dotted.key=value`` each; the value is YAML (``adversary.epsilon=8/255``,
            ``auxiliary_tasks=[depth]``). Whether the key exists is for the space to judge.

    Raises:
        ConfigError: A fix is not ``key=value``, or leads into a value that holds no keys.

    Example:
        >>> apply_fixes({"search": {"trials": 12}}, ["search.trials=4"])
        {'search': {'trials': 4}}
    """
    fixed = dict(values)
    for fix in fixes:
        key, equals, text = fix.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            raise ConfigError(f"--fix must be key=value, got {fix!r}; try search.trials=4")
        fixed = _with(fixed, path, _read(text, fix), done="")
    return fixed


def with_value(values: Mapping[str, Any], key: str, value: object) -> dict[str, Any]:
    """A copy of a tree with the value at a dotted key replaced."""
    return _with(values, key.split("."), value, done="")


def _with(
    values: Mapping[str, Any], path: list[str], value: object, *, done: str
) -> dict[str, Any]:
    key, *rest = path
    if not rest:
        return {**values, key: value}
    inner = values.get(key)
    inner = {} if inner is None else inner
    place = f"{done}{key}"
    if not isinstance(inner, Mapping) or any(kind in DISTRIBUTIONS for kind in inner):
        raise ConfigError(
            f"{place} must hold keys to fix {'.'.join(rest)!r} in it, got {inner!r}; "
            f"fix {place} as a whole"
        )
    return {**values, key: _with(inner, rest, value, done=f"{place}.")}


def _read(text: str, fix: str) -> object:
    return parse_yaml_value(text, source=f"the value of --fix {fix!r}")
