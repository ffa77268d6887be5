"""Reading torch's files without running anything that is in them."""

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.serialization import safe_globals

from taskgroup.errors import DataError
from taskgroup.results.storage.places import Place

_scalar: Any = np.float64().__reduce__()[0]
NUMPY_SCALARS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
]
"""What numpy's numbers are made of; published files hold their best score as one."""
FOLDER = 0x10
"""Attribute of a folder in an archive; torch reads an entry that has it as zeros, silently."""


def read_plain(content: bytes, path: Place, *, advice: str) -> Any:
    """What a torch file holds, on the CPU; plain data and tensors only.

    Args:
        content: The file.
        path: Where it lies, for messages.
        advice: What the reader should do where it is none, as the end of a sentence.

    Raises:
        DataError: Damage, another kind of file, or pickled code, none of which is run.
    """
    try:
        with safe_globals(NUMPY_SCALARS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickle protocols; they fail or they do not
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path} must hold plain data and tensors only, found pickled code or damage; nothing "
            f"was run: {advice}"
        ) from None
    except Exception:  # what a damaged file raises depends on where the damage is
        raise DataError(
            f"{path} must be a checkpoint, found a damaged or foreign file; {advice}"
        ) from None


def check_archive(content: bytes, path: Place, *, advice: str) -> None:
    """Compare every stored check sum, which torch's own reader does not do for tensors.

    Raises:
        DataError: Damage, or another kind of file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            is_plain = not any(entry.external_attr & FOLDER for entry in archive.infolist())
            intact = is_plain and archive.testzip() is None
    except Exception:  # what a damaged archive raises depends on where the damage is
        intact = False
    if not intact:
        raise DataError(
            f"{path} must be a checkpoint, found a damaged or foreign file; "
            f"it was cut short, changed, or is none of ours: {advice}"
        )
