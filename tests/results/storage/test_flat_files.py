"""Numbers of a table as CSV and parquet."""

from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from taskgroup.errors import ConfigError
from taskgroup.results.storage.flat_files import write_flat_file

RECORDS = [
    {"task": "depth", "mean": 0.5, "seeds": 3},
    {"task": "edges, both", "mean": float("nan"), "seeds": 0},
]


def test_both_formats_hold_the_same(tmp_path: Path) -> None:
    for ending in ("csv", "parquet"):
        write_flat_file(tmp_path / f"table.{ending}", RECORDS)
    csv = pyarrow.csv.read_csv(tmp_path / "table.csv").to_pylist()
    parquet = pyarrow.parquet.read_table(tmp_path / "table.parquet").to_pylist()
    assert csv == parquet == [RECORDS[0], {**RECORDS[1], "mean": None}]


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.csv or \.parquet, got .*table\.xlsx"):
        write_flat_file(tmp_path / "table.xlsx", RECORDS)
    assert not list(tmp_path.iterdir())
