"""Colours the raw pictures of an evaluation and writes them as PNG, without an image library."""

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskgroup.results.records import Panel

IGNORED = 255
Pixels = NDArray[np.uint8]

CLASS_COLORS = (
    *("4e79a7", "f28e2b", "59a14f", "e15759", "b6992d", "499894", "d37295", "9d7660", "b07aa1"),
    *("79706e", "a0cbe8", "ffbe7d", "8cd17d", "ff9d9a", "f1ce63", "86bcb6", "fabfd2", "d7b5a6"),
    *("d4a6c8", "bab0ac"),
)
"""Tableau's twenty colours; class maps with more classes repeat them."""
DEPTH_COLORS = (
    *("440154", "482878", "3e4989", "31688e", "26828e"),
    *("1f9e89", "35b779", "6ece58", "b5de2b", "fde725"),
)
"""Ten stops of viridis, which stays in order for the colour-blind and in grey."""
INVALID_COLOR = (236, 238, 240)


def encode_png(pixels: Pixels) -> bytes:
    """Write colours ``(H, W, 3)`` as a PNG file (ISO/IEC 15948; 8-bit RGB, no filter)."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def data_address(pixels: Pixels) -> str:
    """A picture as an address that an HTML page can hold in itself."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode()


def colour(panel: Panel, *, limits: tuple[float, float] = (0.0, 1.0)) -> Pixels:
    """The colours ``(H, W, 3)`` of a panel that has pixels.

    Args:
        panel: A picture, a class map, or numbers per pixel.
        limits: Numbers shown as the two ends of the colour scale, for one or two channels; three
            channels are colours themselves (normals from [-1, 1], the rest from [0, 1]).
    """
    if panel.kind == "picture":
        return np.asarray(panel.pixels, dtype=np.uint8)
    if panel.kind == "classes":
        return _colour_classes(panel.pixels)
    if len(panel.pixels) == 3:
        values = (panel.pixels + 1) / 2 if panel.task == "normals" else panel.pixels
        return _paint(np.moveaxis(values, 0, -1), np.logical_and.reduce(np.isfinite(values)))
    return _colour_scale(panel.pixels[0], limits)


def scale_limits(values: NDArray[Any]) -> tuple[float, float]:
    """The second and the 98th percentile of the first channel, for one scale over pictures.

    Returns:
        ``(0, 1)`` where nothing is finite.
    """
    finite = values[0][np.isfinite(values[0])] if len(values) else values
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, [2, 98])
    return float(low), float(max(high, low + 1e-6))


def class_color(number: int) -> str:
    """The colour of a class as ``#rrggbb``."""
    return f"#{CLASS_COLORS[number % len(CLASS_COLORS)]}"


def _colour_classes(classes: NDArray[Any]) -> Pixels:
    palette = _palette(CLASS_COLORS)
    colours = palette[classes.astype(np.int64) % len(palette)]
    return _paint(colours / 255, np.not_equal(classes, IGNORED))


def _colour_scale(values: NDArray[Any], limits: tuple[float, float]) -> Pixels:
    low, high = limits
    is_known = np.isfinite(values)
    share = np.clip((np.where(is_known, values, low) - low) / (high - low), 0, 1)
    palette = _palette(DEPTH_COLORS)
    stops = np.linspace(0, 1, len(palette))
    channels = [np.interp(share, stops, palette[:, channel]) for channel in range(3)]
    return _paint(np.stack(channels, axis=-1) / 255, is_known)


def _paint(colours: NDArray[Any], is_known: NDArray[Any]) -> Pixels:
    """Colours in [0, 1] as bytes; pale grey where nothing is known."""
    filled = np.where(is_known[..., None], colours, np.array(INVALID_COLOR) / 255)
    return np.asarray(np.rint(np.clip(filled, 0, 1) * 255), dtype=np.uint8)


def _palette(colors: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in colors], dtype=np.float64)
