"""Which files of a data set are copied, where to, and how each may be resized."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taskgroup.data.files.locate import Layout, find_layout
from taskgroup.data.readers import camvid, cityscapes, taskonomy
from taskgroup.data.readers.taskonomy_encodings import encodings
from taskgroup.paths import is_folder

SourceName = Literal["cityscapes", "taskonomy", "camvid"]


@dataclass(frozen=True)
class Job:
    """One file to bring to another size.

    Attributes:
        source: The file; it may be missing, which is then told.
        target: The copy, always PNG.
        kind: ``labels`` are never blended; ``disparity`` has holes at 0 and ``depth`` at 64500
            and above, which are never blended in either; ``numbers`` and ``picture`` are blended.
        channels: Channels of the file, 1 or 3.
        picture: The picture whose size the file must have, where that is so.
    """

    source: Path
    target: Path
    kind: Literal["picture", "labels", "numbers", "disparity", "depth"]
    channels: int = 1
    picture: Path | None = None


def plan_cityscapes(folder: Path, target: Path) -> list[Job]:
    """Pictures, label maps and, where the folder is there, disparity of train and val."""
    frames = [
        frame for split in ("train", "val") for frame in cityscapes.list_frames(folder, split)
    ]
    has_disparity = is_folder(folder / "disparity")
    jobs = []
    for frame in frames:
        picture = frame.picture
        files: list[tuple[Path, Literal["picture", "labels", "disparity"]]] = [
            (picture, "picture"),
            (frame.labels, "labels"),
        ]
        files += [(frame.disparity, "disparity")] if has_disparity else []
        for path, kind in files:
            place = target / path.relative_to(folder)
            jobs.append(Job(path, place, kind, 3 if kind == "picture" else 1, picture))
    return jobs


def plan_camvid(folder: Path, target: Path) -> list[Job]:
    """Pictures and label maps of the published splits."""
    jobs = []
    for split in camvid.FOLDERS.values():
        pictures, labels = camvid.by_stem(folder / split), camvid.by_stem(folder / f"{split}annot")
        for stem in sorted(pictures.keys() | labels.keys()):
            picture = pictures.get(stem, folder / split / f"{stem}.png")
            label = labels.get(stem, folder / f"{split}annot" / f"{stem}.png")
            jobs.append(Job(picture, target / split / f"{stem}.png", "picture", 3))
            known = picture if stem in pictures else None
            place = target / f"{split}annot" / f"{stem}.png"
            jobs.append(Job(label, place, "labels", picture=known))
    return jobs


def plan_taskonomy(folder: Path, target: Path) -> list[Job]:
    """Pictures and the files of every domain that a task reads."""
    known = {encoding.domain: encoding for encoding in encodings("log").values()}
    domains = [domain for domain in known if is_folder(folder / domain)]
    has_labels = any(is_folder(folder / domain) for domain in taskonomy.SEGMENTATION)
    jobs = []
    for view in taskonomy.list_views(folder):
        picture = view.file("rgb")
        jobs.append(Job(picture, target / picture.relative_to(folder), "picture", 3))
        for domain in domains:
            path, encoding = view.file(domain), known[domain]
            kind: Literal["depth", "numbers"] = "depth" if encoding.mask == "depth" else "numbers"
            jobs.append(Job(path, target / path.relative_to(folder), kind, encoding.channels))
        if has_labels:
            path = view.labels
            jobs.append(Job(path, target / path.relative_to(folder), "labels"))
    return jobs


def _finder(layout: Layout) -> Callable[[Path], Path]:
    return lambda source: find_layout(layout, source)


SOURCES: Mapping[SourceName, Callable[[Path], Path]] = {
    "cityscapes": _finder(cityscapes.CityscapesConfig.layout),
    "taskonomy": _finder(taskonomy.TaskonomyConfig.layout),
    "camvid": _finder(camvid.CamvidConfig.layout),
}
"""The folder of each data set at or below a folder; DataError where there is none."""
PLANS: Mapping[SourceName, Callable[[Path, Path], list[Job]]] = {
    "cityscapes": plan_cityscapes,
    "taskonomy": plan_taskonomy,
    "camvid": plan_camvid,
}
"""The files of each data set, from its folder and the copy's."""
