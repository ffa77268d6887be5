"""What every record has, and integers that are stored in fewer bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import pyarrow as pa

Int32 = Annotated[int, pa.int32()]
"""An integer whose column is int32; the column of an ``int`` is int64."""


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
