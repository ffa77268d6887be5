import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from taskgroup.data.files.unpickle import unpickle_arrays
from taskgroup.errors import DataError


def python2_array(module: bytes = b"numpy.core.multiarray") -> bytes:
    """A dictionary ``{"data": uint8 [[1, 2, 3]]}`` in the form of the official CIFAR files."""
    return (
        b"\x80\x02}U\x04datac" + module + b"\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\x01\x02\x03tbs."
    )


class Hostile:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_an_official_array_is_read(tmp_path: Path, module: bytes) -> None:
    path = tmp_path / "batch"
    path.write_bytes(python2_array(module))
    data = unpickle_arrays(path)["data"]
    assert data.dtype == np.uint8
    assert data.tolist() == [[1, 2, 3]]


def test_plain_values_are_read(tmp_path: Path) -> None:
    values = {"labels": [1, 2], "name": "batch 1", "nested": {"a": (1.5, True, None)}}
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(values, protocol=2))
    assert unpickle_arrays(path) == values


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, eval, exec, getattr, __import__, open])
def test_a_hostile_pickle_is_refused_and_nothing_runs(
    tmp_path: Path, function: object, protocol: int
) -> None:
    trace = tmp_path / "ran"
    argument = f"touch {trace}" if function is os.system else f"open({str(trace)!r}, 'w')"
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": Hostile(function, argument)}, protocol=protocol))
    with pytest.raises(DataError, match="but it asks for") as caught:
        unpickle_arrays(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize("name", [b"numpy\nload", b"builtins\neval", b"numpy.core.multiarray\nf"])
def test_names_beside_the_allowed_ones_are_refused(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / "batch"
    path.write_bytes(b"\x80\x02c" + name + b"\n.")
    with pytest.raises(DataError, match="it asks for"):
        unpickle_arrays(path)


def test_every_truncation_is_one_line(tmp_path: Path) -> None:
    whole = python2_array()
    path = tmp_path / "batch"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="must be a whole pickle") as caught:
            unpickle_arrays(path)
        assert "\n" not in str(caught.value)


def test_other_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a readable file"):
        unpickle_arrays(tmp_path / "absent")
    with pytest.raises(DataError, match="must be a readable file"):
        unpickle_arrays(tmp_path)
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="must hold a dictionary, got list"):
        unpickle_arrays(path)
    path.write_text("<html>not found</html>")
    with pytest.raises(DataError, match="must be a whole pickle"):
        unpickle_arrays(path)
