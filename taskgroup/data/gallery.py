"""A contact sheet of a data set: pictures in the first column, one column per task beside it.

What a person should look at before training on anything.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from taskgroup.data.base import Batch, DatasetConfig, Split, VisionDataset, check_tasks
from taskgroup.errors import ConfigError, ResourceError
from taskgroup.tasks.base import Target, TaskInfo

Picture = NDArray[np.uint8]
Maps = NDArray[np.float32]

CELL = 128
"""Least height of a drawn map in pixels; small maps are enlarged by a whole number."""
MARGIN = 6
LINE = 16
INVALID = (24, 24, 24)
"""Colour of pixels without a label."""
PAPER, INK = (255, 255, 255), (20, 20, 20)

_VIRIDIS = np.array(
    [
        (68, 1, 84),
        (71, 44, 122),
        (59, 81, 139),
        (44, 113, 142),
        (33, 144, 141),
        (39, 173, 129),
        (92, 200, 99),
        (170, 220, 50),
        (253, 231, 37),
    ],
    dtype=np.float32,
)
"""Nine points of matplotlib's viridis, dark to bright."""
_FIRST_COLOURS = (
    (170, 190, 215),
    (190, 150, 105),
    (235, 235, 225),
    (214, 69, 65),
    (52, 120, 220),
    (60, 170, 90),
    (240, 160, 40),
    (140, 80, 190),
    (30, 185, 190),
    (235, 110, 175),
    (120, 120, 30),
    (90, 60, 40),
)


def draw_gallery(
    config: DatasetConfig,
    path: Path,
    *,
    split: Split = "train",
    tasks: Sequence[str] | None = None,
    count: int = 6,
) -> None:
    """Write a contact sheet of the first samples of a split as a PNG file.

    Args:
        config: The data set.
        path: File to write; folders above it are made.
        split: Which split to show.
        tasks: Columns beside the picture; None shows every task of the data set.
        count: Number of rows, at most the split's length.

    Raises:
        ConfigError: A task that the data set lacks, or a count below 1.
        DataError: The data set's files are missing or damaged.
        ResourceError: ``path`` cannot be written.
    """
    if count < 1:
        raise ConfigError(f"count must be at least 1, got {count}; ask for some samples")
    infos = config.tasks()
    shown = tuple(infos) if tasks is None else tuple(tasks)
    check_tasks(config, shown)
    sheet = gallery(config.open(split, shown), [infos[task] for task in shown], count=count)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(draft, format="PNG")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise ResourceError(
            f"the gallery must be written to {path}, but: {error.strerror or error}; "
            "name a file in a folder that can be written"
        ) from None


def gallery(dataset: VisionDataset, infos: Sequence[TaskInfo], *, count: int) -> Image.Image:
    """Draw the contact sheet of the first ``count`` samples.

    Args:
        dataset: Opened with (at least) the tasks of ``infos``.
        infos: One column each, in this order.
        count: Number of rows, at most the data set's length.
    """
    batch = dataset.batch(range(min(count, len(dataset))))
    pictures = _colours(batch.images.numpy())
    columns = [_cells("picture", pictures)]
    columns += [_column(info, batch.targets[info.name], pictures.shape[1:3]) for info in infos]
    sheet = _hstack(columns)
    legends = [_legend(info, sheet.width) for info in infos if _is_class_map(batch, info)]
    return _vstack([sheet, *legends])


def _is_class_map(batch: Batch, info: TaskInfo) -> bool:
    return bool(info.class_names) and batch.targets[info.name].values.ndim == 3


def _column(info: TaskInfo, target: Target, size: tuple[int, int]) -> Image.Image:
    """One task's column, with its name and, for a measure, its range on top."""
    values, valid = target.values.numpy(), target.valid.numpy()
    if values.ndim == 1:
        words = [_word(info, int(v)) if ok else "-" for v, ok in zip(values, valid, strict=True)]
        return _cells(info.name, np.full((len(values), *size, 3), 245, dtype=np.uint8), words)
    if values.ndim == 3:
        drawn, title = class_colours(int(values.max(initial=0)) + 1)[values], info.name
    else:
        seen = values.transpose(0, 2, 3, 1)[valid]
        title = f"{info.name}  {seen.min():.2g} to {seen.max():.2g}" if seen.size else info.name
        drawn = _colours(values, seen)
    drawn[~valid] = INVALID
    return _cells(title, drawn)


def _word(info: TaskInfo, number: int) -> str:
    return info.class_names[number] if number < len(info.class_names) else str(number)


def class_colours(num_classes: int) -> Picture:
    """Colours ``(K, 3)`` that tell classes apart; the same class always has the same colour."""
    numbers = np.arange(num_classes)
    spread = np.stack([97 * numbers % 199, (57 * numbers + 60) % 197, 151 * numbers % 193], axis=1)
    colours: Picture = (spread + 40).astype(np.uint8)
    first = np.array(_FIRST_COLOURS[:num_classes], dtype=np.uint8)
    colours[: len(first)] = first
    return colours


def _colours(values: Maps, seen: Maps | None = None) -> Picture:
    """Maps ``(N, C, H, W)`` as pictures ``(N, H, W, 3)``.

    One channel runs dark to bright over the range of ``seen`` (the valid values), two are red and
    blue around grey, three are RGB, from [-1, 1] where any is negative and else from [0, 1].
    """
    channels = values.transpose(0, 2, 3, 1)
    low, high = (0.0, 1.0) if seen is None or not seen.size else (seen.min(), seen.max())
    if channels.shape[-1] == 1:
        share = np.clip((channels[..., 0] - low) / max(high - low, 1e-6), 0, 1)
        return _viridis(share.astype(np.float32))
    if channels.shape[-1] == 2:
        reach = max(abs(low), abs(high), 1e-6)
        red, blue = np.moveaxis(channels, -1, 0) / (2 * reach) + 0.5
        return _bytes(np.stack([red, np.full_like(red, 0.5), blue], axis=-1).astype(np.float32))
    colours: Maps = channels[..., :3]
    return _bytes(np.float32(0.5) * (colours + 1) if low < 0 else colours)


def _viridis(share: Maps) -> Picture:
    at = share * (len(_VIRIDIS) - 1)
    below = np.minimum(at.astype(np.intp), len(_VIRIDIS) - 2)
    part = (at - below)[..., None]
    mixed: Picture = ((1 - part) * _VIRIDIS[below] + part * _VIRIDIS[below + 1]).astype(np.uint8)
    return mixed


def _bytes(colours: Maps) -> Picture:
    levels: Picture = (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)
    return levels


def _cells(title: str, drawn: Picture, words: Sequence[str] = ()) -> Image.Image:
    """A column: ``title``, then pictures ``(N, H, W, 3)`` under each other, ``words`` on them."""
    factor = max(1, -(-CELL // drawn.shape[1]))
    cells = [Image.fromarray(np.kron(c, np.ones((factor, factor, 1), np.uint8))) for c in drawn]
    width, height = cells[0].size
    wide = max(width, int(_FONT.getlength(title)) + 2)
    column = Image.new("RGB", (wide + MARGIN, LINE + len(cells) * (height + MARGIN)), PAPER)
    pen = ImageDraw.Draw(column)
    pen.text((1, 1), title, fill=INK, font=_FONT)
    for row, cell in enumerate(cells):
        column.paste(cell, (0, LINE + row * (height + MARGIN)))
    for row, word in enumerate(words):
        pen.text((4, LINE + row * (height + MARGIN) + height // 2), word, fill=INK, font=_FONT)
    return column


def _legend(info: TaskInfo, width: int) -> Image.Image:
    """Lines of colour patches and class names, ``width`` pixels wide."""
    places, x, y = [], int(_FONT.getlength(info.name)) + 12, 0
    for name in info.class_names:
        step = int(_FONT.getlength(name)) + 28
        if x + step > width and x > 0:
            x, y = 0, y + LINE
        places.append((x, y))
        x += step
    legend = Image.new("RGB", (width, y + LINE), PAPER)
    pen = ImageDraw.Draw(legend)
    pen.text((1, 1), info.name, fill=INK, font=_FONT)
    colours = class_colours(len(places)).tolist()
    for (x, y), name, colour in zip(places, info.class_names, colours, strict=True):
        pen.rectangle((x + 2, y + 2, x + 13, y + 13), fill=tuple(colour))
        pen.text((x + 17, y + 1), name, fill=INK, font=_FONT)
    return legend


def _hstack(images: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (sum(i.width for i in images), max(i.height for i in images)), PAPER)
    x = 0
    for image in images:
        sheet.paste(image, (x, 0))
        x += image.width
    return sheet


def _vstack(images: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (max(i.width for i in images), sum(i.height for i in images)), PAPER)
    y = 0
    for image in images:
        sheet.paste(image, (0, y))
        y += image.height
    return sheet


_FONT = ImageFont.load_default()
