"""The base class of every configuration model, and numbers that are written as fractions."""

import re
from fractions import Fraction
from typing import Annotated, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticKnownError

from taskgroup.config.messages import branches_of, describe
from taskgroup.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration model: frozen, unknown keys forbidden, numbers finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_for_number(cls, value: object, info: ValidationInfo) -> object:
        """YAML's ``yes`` and ``true`` would else count as 1."""
        branches = branches_of(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, bool) and all(branch in (int, float) for branch in branches):
            raise PydanticKnownError("int_type" if branches == [int] else "float_type")
        return value


_FRACTION = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*")


def parse_number(value: object) -> object:
    """Read ``"8/255"`` as a number; anything else passes through for pydantic to judge.

    Example:
        >>> parse_number("1/4")
        0.25
    """
    match = _FRACTION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    try:
        return float(Fraction(match[1]) / Fraction(match[2]))
    except (ZeroDivisionError, OverflowError, ValueError):  # the last of thousands of digits
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
