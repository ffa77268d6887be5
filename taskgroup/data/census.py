"""How many images each split has, of which class, and what so few cannot show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from taskgroup.data.base import DatasetConfig, Split
from taskgroup.data.readers.reader import ReaderConfig
from taskgroup.wording import listed

FEW_IMAGES = 100
"""Below about as many scored images, only large differences can be told from chance."""
SHOWN_CLASSES = 10
SHOWN_MISSING = 3
_ORDER: tuple[Split, ...] = ("train", "validation", "confirm", "test")


@dataclass(frozen=True)
class SplitCount:
    """What one split holds.

    Attributes:
        split: Its name.
        images: Number of its images; None where that is known only once it is opened.
        classes: Number of images by class, where an image has one class.
    """

    split: Split
    images: int | None
    classes: Mapping[str, int] = field(default_factory=dict)


def split_counts(config: DatasetConfig, task: str) -> tuple[SplitCount, ...]:
    """Count the images of every split, and of every class of a task with one class per image.

    Raises:
        DataError: The files are missing, foreign, or damaged.
    """
    if not isinstance(config, ReaderConfig):
        return tuple(SplitCount(split, config.count(split)) for split in _ORDER)
    classes = config.class_counts(task)
    return tuple(SplitCount(split, config.count(split), classes[split]) for split in _ORDER)


def census_text(counts: Sequence[SplitCount]) -> str:
    """The splits in one line; empty where nothing is known.

    Example:
        >>> census_text([SplitCount("train", 24, {"cat": 20, "dog": 4}), SplitCount("test", 8)])
        'images: train 24 (cat 20, dog 4), test 8'
    """
    known = [f"{own.split} {own.images}{_classes(own)}" for own in counts if own.images is not None]
    return f"images: {', '.join(known)}" if known else ""


def census_warning(counts: Sequence[SplitCount]) -> str:
    """What cannot be concluded from these splits, in one line; empty where they are large enough.

    Example:
        >>> census_warning([SplitCount("train", 24), SplitCount("test", 25)])
        'too few images to tell networks apart: test 25; a share is uncertain by 20 points there'
    """
    scored = [own for own in counts if own.split != "train" and own.images is not None]
    few = [own for own in scored if (own.images or 0) < FEW_IMAGES]
    parts = []
    if few:
        least = max(1, min(own.images or 0 for own in few))
        named = ", ".join(f"{own.split} {own.images}" for own in few)
        parts.append(
            f"too few images to tell networks apart: {named}; a share is uncertain by "
            f"{100 / least**0.5:.0f} points there"
        )
    return "; ".join([*parts, *filter(None, map(_missing, counts))])


def _missing(own: SplitCount) -> str:
    """Classes that a split lacks; empty where it has all."""
    missing = [name for name, count in own.classes.items() if count == 0]
    if not missing:
        return ""
    more = f" and {len(missing) - SHOWN_MISSING} more" if len(missing) > SHOWN_MISSING else ""
    shown = ", ".join(missing[:SHOWN_MISSING]) if more else listed(missing)
    return f"no image of {shown}{more} in {own.split}, which says nothing about them"


def _classes(own: SplitCount) -> str:
    if not own.classes:
        return ""
    if len(own.classes) > SHOWN_CLASSES:
        least, most = min(own.classes.values()), max(own.classes.values())
        return f" ({len(own.classes)} classes, {least} to {most} each)"
    return f" ({', '.join(f'{name} {count}' for name, count in own.classes.items())})"
