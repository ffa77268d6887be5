"""The pixels of a panel."""

from dataclasses import replace

import numpy as np
import pytest

from taskgroup.errors import DataError
from taskgroup.results.records import Panel, PanelKind, pixel_bytes


def panel(pixels: np.ndarray, kind: PanelKind) -> Panel:
    return Panel(
        3, "a", "winner", 0, "clean", 0.0, "target", "a", kind, pixels.shape,
        pixel_bytes(pixels, kind),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "shape", "name"),
    [
        ("picture", (2, 3, 3), "uint8"),
        ("classes", (2, 3), "uint8"),
        ("classes", (), "uint8"),
        ("numbers", (1, 2, 3), "float32"),
        ("numbers", (1, 0, 3), "float32"),
    ],
)
def test_pixels_come_back_in_the_type_of_their_kind(
    kind: PanelKind, shape: tuple[int, ...], name: str
) -> None:
    pixels = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    found = panel(pixels.astype(name), kind).pixels
    assert found.dtype == name
    np.testing.assert_array_equal(found, pixels)


def test_pixels_are_stored_in_c_order() -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3).T
    np.testing.assert_array_equal(panel(pixels, "classes").pixels, pixels)
    assert pixel_bytes(pixels, "classes") == bytes([0, 3, 1, 4, 2, 5])


def test_pixels_that_do_not_fit_their_shape_or_kind_are_named() -> None:
    good = panel(np.zeros((2, 3), np.uint8), "classes")
    for bad in (replace(good, shape=(2, 4)), replace(good, kind="waves")):  # type: ignore[arg-type]
        with pytest.raises(DataError, match=r"a panel of trial 3 must hold .* but holds 6 bytes"):
            _ = bad.pixels
