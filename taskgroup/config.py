"""What every configuration model shares: one base class, number parsing, YAML reading.

Each package declares its own models beside the code that uses them; this file knows none of them.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from taskgroup.errors import ConfigError, DataError


class Config(BaseModel):
    """Base of every configuration model: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def parse_number(value: object) -> object:
    """Read ``"8/255"`` as a number; anything else passes through for pydantic to judge.

    Example:
        >>> parse_number("1/4")
        0.25
    """
    if isinstance(value, str) and "/" in value:
        try:
            return float(Fraction(value.replace(" ", "")))
        except (ValueError, ZeroDivisionError):
            return value
    return value


NUMBER_SCHEMA = {
    "anyOf": [
        {"type": "number"},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(/\s*\d+\s*)?$"},
    ]
}
Fraction255 = Annotated[float, BeforeValidator(parse_number), WithJsonSchema(NUMBER_SCHEMA)]
"""A number that YAML may write as a fraction, ``8/255``."""

ConfigT = TypeVar("ConfigT", bound=BaseModel)


def parse(model: type[ConfigT], values: object, *, source: str = "") -> ConfigT:
    """Validate ``values`` against ``model``.

    Args:
        model: The configuration model.
        values: Plain data, as read from YAML or JSON.
        source: Where the values come from, put before the message ("space.yaml").

    Raises:
        ConfigError: One line that names the first wrong key as the reader wrote it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        prefix = f"{source}: " if source else ""
        raise ConfigError(prefix + describe(error, model)) from None


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for a validation error: the key, what must hold, what was found, how many more."""
    problems = error.errors(include_url=False)
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _describe_one(problem, model) + more


def _describe_one(problem: ErrorDetails, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "the whole value"
    if problem["type"] == "extra_forbidden":
        known = sorted(_known_keys(model, problem["loc"]))
        near = get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {key!r}; {advice}"
    if problem["type"] == "missing":
        return f"{key} is required; add it"
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"]) if "ctx" in problem else problem["msg"]
        return message if problem["loc"] == () or key in message else f"{key}: {message}"
    return f"{key}: {problem['msg'][:1].lower()}{problem['msg'][1:]}, got {problem['input']!r}"


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> Iterable[str]:
    """Field names of the model that holds the last part of ``location``."""
    current: type[BaseModel] | None = model
    for part in location[:-1]:
        inner = (
            _models_within(current.model_fields[str(part)].annotation)
            if (current is not None and str(part) in current.model_fields)
            else []
        )
        current = inner[0] if inner else current
    return current.model_fields if current is not None else ()


def _models_within(annotation: Any) -> list[type[BaseModel]]:
    """Configuration models named anywhere inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models_within(part)]


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
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise ConfigError(f"{source} must be YAML: {line}") from None
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source} must hold a mapping of keys, got {type(values).__name__}")
    return values


def to_yaml(values: object) -> str:
    """Write plain data as YAML in the order given."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
