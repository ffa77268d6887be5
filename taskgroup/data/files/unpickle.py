"""The one place where a pickle from outside is read: CIFAR's own batch files.

A pickle may name any function and have it called. CIFAR's files need four names, so the reader
knows these four and no others.
"""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from taskgroup.errors import DataError

_RECONSTRUCT: Callable[..., Any] = np.empty(0).__reduce__()[0]  # type: ignore[assignment]
_NUMPY: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
_PLAIN = (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
_BUILTINS: Mapping[tuple[str, str], type] = {
    (module, plain.__name__): plain for module in ("builtins", "__builtin__") for plain in _PLAIN
}


class ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and plain containers; any other name in the file is an error."""

    def find_class(self, module: str, name: str) -> Any:
        """The four names that rebuild an array, and the plain built-in types."""
        known = _NUMPY.get((module, name)) or _BUILTINS.get((module, name))
        if known is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known


def unpickle_arrays(path: Path) -> Mapping[str, Any]:
    """Read a dictionary of arrays, lists and strings, as Python 2 wrote it for CIFAR.

    Args:
        path: The file; its byte strings are read as Latin-1 text.

    Raises:
        DataError: It is missing, truncated, no dictionary, or asks for anything but an array.
    """
    try:
        with path.open("rb") as file:
            found = ArrayUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise DataError(f"{path} must be a readable file: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle can raise nearly anything; none of it is ours
        raise DataError(
            f"{path} must be a whole pickle of arrays and plain values, but "
            f"{' '.join(str(error).split()) or type(error).__name__}; "
            "fetch the file again from the original source"
        ) from None
    if not isinstance(found, dict):
        raise DataError(
            f"{path} must hold a dictionary, got {type(found).__name__}; "
            "fetch the file again from the original source"
        )
    return found
