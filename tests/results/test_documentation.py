"""docs/records.md lists every column of every kind of file, with its type."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

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
from taskgroup.results.records.codec import schema_of

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


def documented(page: str, folder: str) -> dict[str, str]:
    """Types by column in the section of a folder."""
    sections = [part for part in page.split("\n## ")[1:] if f"`{folder}/*" in part.splitlines()[0]]
    assert len(sections) == 1, folder
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", sections[0], flags=re.MULTILINE)
    return {
        name: kind.removesuffix(" or null").removesuffix(" (JSON)")
        for names, kind in rows
        for name in re.findall(r"`(\w+)`", names)
    }


def described(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return f"map {kind.key_type} → {described(kind.item_type)}"
    if pa.types.is_list(kind):
        inner = kind.value_type
        return "list of struct" if pa.types.is_struct(inner) else f"list of {described(inner)}"
    return str(kind)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_column_is_described_with_its_type(page: str, folder: str) -> None:
    expected = {field.name: described(field.type) for field in schema_of(FOLDERS[folder])}
    assert documented(page, folder) == expected


def test_every_folder_and_record_is_named(page: str) -> None:
    for folder, record in FOLDERS.items():
        assert f"| `{folder}/" in page
        assert f"`{record.stored_as}`" in page
