"""What every record has, and numbers that have a range or are stored in fewer bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import pyarrow as pa

from taskgroup.results.records.ranges import Range

Count = Annotated[int, pa.int64(), Range(0)]
Count32 = Annotated[int, pa.int32(), Range(0)]
"""How many, of whatever; never below 0."""
TrialNumber = Annotated[int, pa.int32(), Range(-1)]
"""Number of a trial, or -1 for a checkpoint from elsewhere."""
Amount = Annotated[float, pa.float64(), Range(0)]
"""A radius, a length or a duration: finite and never below 0."""


@dataclass(frozen=True)
class Record:
    """Base of every record: a frozen dataclass whose annotations are its columns.

    A new field needs a default, which files that were written without it take. Its metadata may
    say ``{"column": name}`` where the column has another name than the field.

    Attributes:
        stored_as: What a file's metadata call the record.
        made_by: Command that makes such records again; empty where only training does.
        extra: What the record's file held besides the fields, by column: another version's. It is
            written again with the record.
    """

    stored_as: ClassVar[str] = ""
    made_by: ClassVar[str] = ""

    extra: Mapping[str, pa.Scalar] = field(
        default_factory=dict, kw_only=True, compare=False, repr=False
    )

    def check(self) -> None:
        """Check what one column's range cannot say, where a record has been read.

        Raises:
            DataError: The message begins with the column: ``low must ..., but ...``.
        """
