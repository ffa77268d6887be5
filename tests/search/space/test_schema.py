"""The JSON schema agrees with what reading a space accepts."""

from typing import Any

import jsonschema
import pytest

from taskgroup.config import read_yaml
from taskgroup.data.base import DATASETS
from taskgroup.search.space.find import list_spaces
from taskgroup.search.space.schema import space_schema


def problems(values: dict[str, Any]) -> list[str]:
    schema = space_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(values)]


@pytest.mark.parametrize("name", sorted(list_spaces()))
def test_shipped_spaces_fit_the_schema(name: str) -> None:
    assert problems(dict(read_yaml(list_spaces()[name]))) == []


def test_schema_takes_distributions_at_leaves_and_fractions(values: dict[str, Any]) -> None:
    assert problems(values) == []
    values["training"] = {"epochs": {"randint": [1, 2]}, "momentum": {"uniform": ["1/2", 1]}}
    values["loss_weights"] = {"shared": {"loguniform": [0.1, 1]}}
    assert problems(values) == []


@pytest.mark.parametrize(
    "change",
    [
        {"trainin": {}},
        {"training": {"epoch": 3}},
        {"training": {"epochs": {"uniform": [1, 2]}}},
        {"adversary": {"attack": "pdg"}},
        {"validation": {"steps": {"randint": [1, 2]}}},
        {"main_task": {"choice": ["a"]}},
        {"dataset": {"name": "nothing"}},
        {"auxiliary_tasks": "depth"},
    ],
)
def test_schema_refuses_what_reading_refuses(values: dict[str, Any], change: Any) -> None:
    assert problems({**values, **change})


def test_every_data_set_is_told_apart_by_its_name() -> None:
    options = space_schema()["properties"]["dataset"]["oneOf"]
    assert [option["properties"]["name"]["const"] for option in options] == list(DATASETS)


def test_every_leaf_is_described() -> None:
    training = space_schema()["properties"]["training"]["properties"]
    assert all("description" in leaf for leaf in training.values())
