"""docs/records.md lists every column of every kind of file, with its type."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from taskgroup.evaluation.suites.strong import SUITES
from taskgroup.results.records import (
    DimensionRow,
    EvaluationRow,
    GradientCheckRow,
    ImageRow,
    Panel,
    TaskGradientRow,
    TransferRow,
    TrialResult,
)
from taskgroup.results.records.columns import Column, columns_of

PAGE = Path(__file__).parents[2] / "docs" / "records.md"
FOLDERS = {
    "trials": TrialResult,
    "evaluations": EvaluationRow,
    "worst_case": ImageRow,
    "shards": ImageRow,
    "transfers": TransferRow,
    "gradient_checks": GradientCheckRow,
    "panels": Panel,
    "dimension": DimensionRow,
    "task_gradients": TaskGradientRow,
}


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def table_rows(page: str, folder: str) -> dict[str, tuple[str, str]]:
    """Type and meaning by column in the section of a folder."""
    sections = [part for part in page.split("\n## ")[1:] if f"`{folder}/*" in part.splitlines()[0]]
    assert len(sections) == 1, folder
    rows = re.findall(r"^\| (`.*?) \| (.*?) \| (.*) \|$", sections[0], flags=re.MULTILINE)
    return {
        name: (kind, meaning)
        for names, kind, meaning in rows
        for name in re.findall(r"`(\w+)`", names)
    }


def shown_default(column: Column) -> str:
    if column.is_required:
        return ""
    value = column.default()
    if value in ("", (), {}):
        return ", default empty"
    shown = f"`{value}`" if isinstance(value, str) else json.dumps(value).removesuffix(".0")
    return f", default {shown}"


def described(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return f"map {kind.key_type} → {described(kind.item_type)}"
    if pa.types.is_list(kind):
        inner = kind.value_type
        return "list of struct" if pa.types.is_struct(inner) else f"list of {described(inner)}"
    return str(kind)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_column_is_described_with_its_type_and_default(page: str, folder: str) -> None:
    expected = {
        column.name: f"{described(column.type)}{' (JSON)' * column.is_json}"
        f"{' or null' * column.is_optional}{shown_default(column)}"
        for column in columns_of(FOLDERS[folder])
    }
    assert {name: kind for name, (kind, _) in table_rows(page, folder).items()} == expected


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_word_that_a_column_may_hold_is_listed(page: str, folder: str) -> None:
    rows = table_rows(page, folder)
    for column in columns_of(FOLDERS[folder]):
        meaning = rows[column.name][1]
        missing = [word for word in column.choices if f"`{word}`" not in meaning]
        assert not missing or meaning.startswith(("as above", "as in `evaluations/`")), column.name
    if folder == "evaluations":
        assert all(f"`{suite}`" in rows["suite"][1] for suite in SUITES)


def test_every_folder_and_record_is_named(page: str) -> None:
    for folder, record in FOLDERS.items():
        assert f"| `{folder}/" in page
        assert f"`{record.stored_as}`" in page
