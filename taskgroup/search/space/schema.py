"""The JSON schema of a search space, for completion and checks in editors.

It is the schema of a trial in which every leaf may also be a distribution, joined with the keys of
the study; so it cannot drift from the models that read the space.
"""

from collections.abc import Mapping
from typing import Any

from taskgroup.config import NUMBER_SCHEMA
from taskgroup.data.base import DATASETS
from taskgroup.search.space.distributions import DISTRIBUTIONS
from taskgroup.search.space.search_space import FIXED_KEYS
from taskgroup.search.space.study_config import StudyConfig
from taskgroup.training.config import TrialConfig

Schema = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NUMERIC = {"number", "integer"}


def space_schema() -> Schema:
    """JSON schema (draft 2020-12) of a whole search space."""
    definitions: Schema = {
        kind.__name__: kind.model_json_schema() for kind in DISTRIBUTIONS.values()
    }
    study = _hoisted(StudyConfig.model_json_schema(), definitions)
    trial = _hoisted(TrialConfig.model_json_schema(), definitions)
    properties = {
        **study["properties"],
        **{
            key: _opened(value, definitions, key)
            for key, value in trial["properties"].items()
            if key != "dataset"
        },
        "dataset": _datasets(definitions),
        "auxiliary_tasks": _auxiliaries(),
        "loss_weights": _weights(),
    }
    return {
        "$schema": _DIALECT,
        "title": "taskgroup search space",
        "type": "object",
        "properties": properties,
        "required": [*study["required"], *trial["required"]],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _hoisted(schema: Schema, definitions: Schema) -> Schema:
    """A schema whose ``$defs`` were moved to the common ones."""
    definitions |= schema.pop("$defs", {})
    return schema


def _datasets(definitions: Schema) -> Schema:
    """One alternative per registered data set, told apart by its name."""
    options = []
    for name in DATASETS:
        schema = _hoisted(DATASETS[name].model_json_schema(), definitions)
        opened = {
            key: _opened(value, definitions, f"dataset.{key}")
            for key, value in schema["properties"].items()
        }
        options.append({**schema, "properties": {**opened, "name": {"const": name}}})
    return {"description": "Where images and targets come from.", "oneOf": options}


def _opened(schema: Schema, definitions: Schema, path: str) -> Schema:
    """The schema of a trial's key with distributions allowed at every leaf below it."""
    section = _section(schema, definitions)
    if section is None:
        return schema if _is_fixed(path) else _with_distributions(schema)
    notes: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    opened = {
        key: _opened(value, definitions, f"{path}.{key}")
        for key, value in section.get("properties", {}).items()
    }
    return {**section, **notes, "properties": opened}


def _section(schema: Schema, definitions: Mapping[str, Schema]) -> Schema | None:
    """The object schema that a key refers to, or None for a leaf."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found = definitions.get(name)
    return found if found is not None and "properties" in found else None


def _is_fixed(path: str) -> bool:
    return any(path == key or path.startswith(f"{key}.") for key in FIXED_KEYS)


def _with_distributions(schema: Schema) -> Schema:
    """A leaf's schema or any distribution that fits its type."""
    notes: Schema = {
        key: schema[key] for key in ("description", "default", "title") if key in schema
    }
    plain = {key: value for key, value in schema.items() if key not in notes}
    types = _types(plain)
    kinds = ["Choice"]
    if types & _NUMERIC:
        kinds += ["RandInt"]
    if "number" in types:
        kinds += ["Uniform", "LogUniform"]
    if "array" in types:
        kinds += ["Subset"]
    return {**notes, "anyOf": [plain, *(_ref(kind) for kind in kinds)]}


def _types(schema: Schema) -> set[str]:
    """Every JSON type that a schema allows."""
    own = {schema["type"]} if "type" in schema else set()
    return own.union(*(_types(option) for option in schema.get("anyOf", [])))


def _ref(kind: str) -> Schema:
    return {"$ref": f"#/$defs/{kind}"}


def _auxiliaries() -> Schema:
    return {
        "description": "Tasks trained with the main task: a list, or {subset: [...]} to search.",
        "anyOf": [
            {"type": "array", "items": {"type": "string"}},
            _ref("Subset"),
            _ref("Choice"),
        ],
    }


def _weights() -> Schema:
    weight = {"anyOf": [NUMBER_SCHEMA, *(_ref(k) for k in ("Uniform", "LogUniform", "Choice"))]}
    shared = {
        "type": "object",
        "properties": {"shared": weight},
        "required": ["shared"],
        "additionalProperties": False,
    }
    each = {"type": "object", "additionalProperties": weight}
    return {
        "description": "One for each chosen auxiliary task (the main task has weight 1), one per "
        "task name, or {shared: ...}, a total split evenly over the chosen tasks.",
        "anyOf": [*weight["anyOf"], shared, each],
    }
