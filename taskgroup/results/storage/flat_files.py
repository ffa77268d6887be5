"""Numbers of a table as a file for other programs: CSV or parquet, by the ending of its name."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from taskgroup.errors import ConfigError
from taskgroup.results.storage.places import Place
from taskgroup.results.storage.single_files import make_folder_of, write_place


def check_flat_file(place: Place) -> None:
    """Refuse a name that ends neither in .csv nor in .parquet.

    Raises:
        ConfigError: It does not.
    """
    if not str(place).endswith((".csv", ".parquet")):
        raise ConfigError(
            f"a table must be written to a file that ends in .csv or .parquet, got {str(place)!r}; "
            "rename it"
        )


def write_flat_file(place: Place, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records with equal keys, one row each; NaN is an empty cell in CSV, null in parquet.

    Args:
        place: Path or address that ends in ``.csv`` or ``.parquet``.
        records: At least one mapping of plain values.

    Raises:
        ConfigError: The name has another ending.
        ResourceError: The disk is full or not writable.
    """
    check_flat_file(place)
    columns = {
        name: pa.array([record[name] for record in records], from_pandas=True)
        for name in records[0]
    }
    table, sink = pa.table(columns), pa.BufferOutputStream()
    if str(place).endswith(".csv"):
        pyarrow.csv.write_csv(table, sink)
    else:
        pyarrow.parquet.write_table(table, sink)
    make_folder_of(place)
    write_place(place, sink.getvalue().to_pybytes())
