"""One line for what pydantic found wrong, in the reader's own keys."""

import re
import types
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def describe(error: ValidationError, model: type[BaseModel], *, within: str = "") -> str:
    """One line for a validation error: the key, what must hold, what was found, how many more.

    Args:
        error: What pydantic found.
        model: The model that was to be validated.
        within: Key that holds the whole value, put before the keys of the line ("dataset").
    """
    groups: dict[str, list[ErrorDetails]] = {}
    for problem in error.errors(include_url=False):
        parts, _ = _resolve(model, problem["loc"])
        key = ".".join([within, *parts] if within else parts)
        container = next((known for known in groups if f"{key}.".startswith(f"{known}.")), key)
        groups.setdefault(container, []).append(problem)
    ordered = sorted(groups.values(), key=lambda group: group[0]["type"] != "extra_forbidden")
    more = f" (and {len(groups) - 1} more)" if len(groups) > 1 else ""
    return _describe_group(ordered[0], model, within) + more


def describe_option(error: ValidationError, name: str) -> str:
    """One line for the value of a command line's option: what must hold, what was found.

    Args:
        error: What pydantic found.
        name: The option as it is written (``--images``).
    """
    problem = error.errors(include_url=False)[0]
    expected = _expectation(problem)
    if expected is not None:
        return f"{name} must be {expected}, got {_shown(problem['input'])}"
    found = str(problem.get("ctx", {}).get("error", problem["msg"])).rstrip(".")
    value, is_choice, choices = found.partition(" is not one of ")
    return f"{name} must be one of {choices}, got {value}" if is_choice else f"{name}: {found}"


def _describe_group(group: Sequence[ErrorDetails], model: type[BaseModel], within: str) -> str:
    """Describe the problems of one key; several are the branches of a union.

    A branch that got inside the value knows more than those that refused the whole of it.
    """
    depth = max(len(_resolve(model, problem["loc"])[0]) for problem in group)
    deepest = [p for p in group if len(_resolve(model, p["loc"])[0]) == depth]
    parts, holder = _resolve(model, deepest[0]["loc"])
    key = ".".join([within, *parts] if within else parts) or "the whole value"
    expected = [_expectation(problem) for problem in deepest]
    if all(expected):
        either = _either([text for text in expected if text])
        near = _near_choice(deepest)
        return f"{key} must be {either}, got {_shown(deepest[0]['input'])}{near}"
    return _describe_one(deepest[0], key, holder)


def _describe_one(problem: ErrorDetails, key: str, holder: type[BaseModel] | None) -> str:
    last = str(problem["loc"][-1]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        known = sorted(holder.model_fields) if holder else []
        near = get_close_matches(last, known, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {key!r}; {advice}"
    if problem["type"] == "missing":
        return f"{key} is required; add it"
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"]) if "ctx" in problem else problem["msg"]
        if not problem["loc"] or key in message:
            return message
        if message.startswith(f"{last} "):
            return key + message.removeprefix(last)
        return f"{key}: {message}"
    sentence = problem["msg"][:1].lower() + problem["msg"][1:]
    return f"{key}: {sentence}, got {_shown(problem['input'])}"


_EXPECTED = {
    "int_": "an integer",
    "float_": "a number",
    "bool_": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping of keys",
    "mapping_type": "a mapping of keys",
    "model_": "a mapping of keys",
    "path_type": "a path",
    "finite_number": "a finite number",
    "greater_than_equal": "at least {ge:.10g}",
    "greater_than": "greater than {gt:.10g}",
    "less_than_equal": "at most {le:.10g}",
    "less_than": "less than {lt:.10g}",
    "literal_error": "{expected}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
}
"""What must hold, by the beginning of pydantic's name for the problem."""


def _expectation(problem: ErrorDetails) -> str | None:
    """What a value must be, to follow "must be"; None where it takes a sentence of its own."""
    for beginning, text in _EXPECTED.items():
        if problem["type"].startswith(beginning):
            return text.format(**problem.get("ctx", {}))
    return None


def _either(expected: Sequence[str]) -> str:
    """Join what is allowed: ``'main', 'all' or a list``."""
    different = list(dict.fromkeys(expected))
    *rest, last = different
    return ", ".join(text.replace(" or ", ", ") for text in rest) + " or " * bool(rest) + last


def _near_choice(problems: Sequence[ErrorDetails]) -> str:
    """Advice when text comes close to one of the choices, or fails to be a number."""
    value = problems[0]["input"]
    if not isinstance(value, str):
        return ""
    choices = [
        choice
        for problem in problems
        for choice in re.findall(r"'([^']*)'", str(problem.get("ctx", {}).get("expected", "")))
    ]
    near = get_close_matches(value, choices, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return "; write 0.5 or 8/255" if problems[0]["type"].startswith("float_") else ""


def _shown(value: object) -> str:
    """The value as the reader wrote it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _resolve(
    annotation: Any, location: Sequence[int | str], holder: type[BaseModel] | None = None
) -> tuple[list[str], type[BaseModel] | None]:
    """The keys of a location as the reader wrote them, and the model that holds the last one.

    pydantic puts the names of union branches between the keys; they are left out.
    """
    if not location:
        return [], holder
    part, rest = location[0], location[1:]
    branches = branches_of(annotation)
    if len(branches) > 1:
        return _resolve(_branch_named(str(part), branches), rest, holder)
    inner, holder = _step(branches[0], part, holder)
    keys, last_holder = _resolve(inner, rest, holder)
    return [str(part), *keys], last_holder


def branches_of(annotation: Any) -> list[Any]:
    """Members of a union but None; the annotation itself if it is none."""
    if get_origin(annotation) is Annotated:
        return branches_of(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, types.UnionType):
        return [annotation]
    members = [member for member in get_args(annotation) if member is not type(None)]
    return members if len(members) > 1 else branches_of(members[0])


def _branch_named(name: str, branches: Sequence[Any]) -> Any:
    """The member of a union that pydantic calls ``name``."""
    for branch in branches:
        bare = branches_of(branch)[0]
        label = getattr(get_origin(bare) or bare, "__name__", "").lower()
        if name.lower().startswith(label):
            return bare
    return Any


def _step(
    annotation: Any, part: int | str, holder: type[BaseModel] | None
) -> tuple[Any, type[BaseModel] | None]:
    """The annotation below one key, and the model that holds the key, if one does."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return (field.annotation if field else Any), annotation
    arguments = get_args(annotation)
    if not arguments:
        return Any, holder
    return (arguments[1] if isinstance(part, str) and len(arguments) > 1 else arguments[0]), holder
