"""Miniature folders in the real layouts, and environment free of the reader's own data."""

import gzip
import io
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

CAMVID_FRAMES = {
    "train": ["0001TP_006690", "0001TP_006720", "0006R0_f00930", "0006R0_f00960", "0016E5_00390"],
    "val": ["0016E5_07959", "0016E5_07961"],
    "test": ["0001TP_008550", "Seq05VD_f00000", "Seq05VD_f00030"],
}
CITIES = {"train": {"aachen": 3, "bochum": 2, "jena": 2, "ulm": 2}, "val": {"lindau": 3}}
POINTS = {
    "beach": [(3, 0), (3, 1), (40, 0), (41, 2), (42, 0), (1200, 0)],
    "cave": [(3, 0), (1999, 5)],
}
DOMAINS_16 = ("depth_zbuffer", "depth_euclidean", "edge_texture", "edge_occlusion", "keypoints2d",
    "keypoints3d")  # fmt: skip
FINE_NAMES = [f"fine {number}" for number in range(100)]
COARSE_NAMES = [f"coarse {number}" for number in range(20)]


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 strings, as the official CIFAR files have them."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value: str | bytes) -> None:
        encoded = value.encode() if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(encoded)) + encoded)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def write_pickle(path: Path, values: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(dict(values))
    text = buffer.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    path.write_bytes(text)


def draw_rows(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, 3072), np.uint8)


def write_picture(path: Path, height: int, width: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def save_array(path: Path, values: np.ndarray) -> None:
    """Save uint8 or uint16 as they are, with one or three channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture(autouse=True)
def no_outer_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests name their folders; the variable is set only where it is tested."""
    monkeypatch.delenv("TASKGROUP_DATA", raising=False)


@pytest.fixture
def cifar10_root(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    files = {f"data_batch_{number}": 8 for number in range(1, 6)} | {"test_batch": 6}
    for seed, (file, rows) in enumerate(files.items()):
        labels = [(seed + row) % 10 for row in range(rows)]
        write_pickle(folder / file, {"labels": labels, "data": draw_rows(rows, seed)})
    names = [f"class {number}" for number in range(10)]
    write_pickle(folder / "batches.meta", {"label_names": names, "num_vis": 3072})
    return tmp_path / "cifar10"


@pytest.fixture
def cifar100_root(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)
    for seed, (file, rows) in enumerate({"train": 30, "test": 6}.items()):
        fine = [(7 * row + seed) % 100 for row in range(rows)]
        values = {"fine_labels": fine, "coarse_labels": [number // 5 for number in fine]}
        write_pickle(folder / file, {**values, "data": draw_rows(rows, 50 + seed)})
    names = {"fine_label_names": FINE_NAMES, "coarse_label_names": COARSE_NAMES}
    write_pickle(folder / "meta", names)
    return tmp_path / "cifar100"


@pytest.fixture
def fashion_mnist_root(tmp_path: Path) -> Path:
    folder = tmp_path / "fashion" / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    random = np.random.default_rng(9)
    for prefix, rows in (("train", 30), ("t10k", 6)):
        pixels = random.integers(0, 256, (rows, 28, 28), np.uint8).tobytes()
        images = struct.pack(">4B3I", 0, 0, 8, 3, rows, 28, 28) + pixels
        labels = struct.pack(">4BI", 0, 0, 8, 1, rows) + bytes(row % 10 for row in range(rows))
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return tmp_path / "fashion"


@pytest.fixture
def camvid_root(tmp_path: Path) -> Path:
    """Pictures 24 x 32; the left half of every label map has all 12 numbers, the right is road."""
    folder = tmp_path / "camvid" / "CamVid"
    seed = 100
    for split, frames in CAMVID_FRAMES.items():
        (folder / f"{split}annot").mkdir(parents=True)
        for frame in frames:
            seed += 1
            write_picture(folder / split / f"{frame}.png", 24, 32, seed)
            labels = np.full((24, 32), 3, np.uint8)
            labels[:, :16] = (np.arange(24)[:, None] // 2) % 12
            Image.fromarray(labels).save(folder / f"{split}annot" / f"{frame}.png")
        lines = [
            f"/SegNet/CamVid/{split}/{f}.png /SegNet/CamVid/{split}annot/{f}.png" for f in frames
        ]
        (folder / f"{split}.txt").write_text("\n".join(lines))
    return tmp_path / "camvid"


@pytest.fixture
def cityscapes_root(tmp_path: Path) -> Path:
    """Pictures 24 x 32 with label ids 0 to 33 in rows, and disparity with a hole on the left."""
    folder, seed = tmp_path / "streets" / "cityscapes", 300
    for split, cities in CITIES.items():
        for city in [city for city, count in cities.items() for _ in range(count)]:
            seed += 1
            stem = Path(split, city, f"{city}_{seed:06}_000019")
            write_picture(folder / "leftImg8bit" / f"{stem}_leftImg8bit.png", 24, 32, seed)
            labels = np.repeat(np.arange(24)[:, None] + 10 * (seed % 2), 32, 1).astype(np.uint8)
            save_array(folder / "gtFine" / f"{stem}_gtFine_labelIds.png", labels)
            disparity = np.random.default_rng(seed).integers(1, 33000, (24, 32)).astype(np.uint16)
            disparity[:, :8] = 0
            save_array(folder / "disparity" / f"{stem}_disparity.png", disparity)
    return tmp_path / "streets"


@pytest.fixture
def taskonomy_root(tmp_path: Path) -> Path:
    """Views 24 x 24 of two buildings; the upper quarter has no geometry, the labels no left one."""
    folder = tmp_path / "rgb_of_rooms" / "taskonomy"
    for building, views in POINTS.items():
        for point, view in views:
            random = np.random.default_rng(1000 * point + view + len(building))
            stem = f"{building}/point_{point}_view_{view}_domain"
            for domain in ("rgb", "normal", "reshading", "principal_curvature"):
                pixels = random.integers(0, 256, (24, 24, 3), np.uint8)
                save_array(folder / domain / f"{stem}_{domain}.png", pixels)
            for domain in DOMAINS_16:
                numbers = random.integers(1, 9000, (24, 24)).astype(np.uint16)
                numbers[:6] = 65535 if domain.startswith("depth") else numbers[:6]
                save_array(folder / domain / f"{stem}_{domain}.png", numbers)
            labels = random.integers(1, 18, (24, 24), np.uint8)
            labels[:, :6] = 0
            save_array(folder / "segment_semantic" / f"{stem}_segmentsemantic.png", labels)
    return tmp_path / "rgb_of_rooms"


@pytest.fixture
def image_folder_root(tmp_path: Path) -> Path:
    """Two classes of pictures in several formats and sizes."""
    folder = tmp_path / "pictures"
    for number in range(16):
        name = f"{'cat' if number % 2 else 'dog'}/deep/{number}.{'png' if number % 3 else 'bmp'}"
        write_picture(folder / name, 20 + number, 24, 200 + number)
    return folder


@pytest.fixture
def miniature(request: pytest.FixtureRequest) -> Callable[[str], dict[str, Any]]:
    """A ``dataset:`` section by registry name, over a miniature folder."""

    def section(name: str) -> dict[str, Any]:
        if name.startswith("scenes"):
            counts = {"train": 6, "validation": 3, "confirm": 3, "test": 3}
            return {"name": name, "image_size": 32, **counts}
        root = request.getfixturevalue(f"{name}_root")
        size = {"image_size": 32} if name in {"camvid", "image_folder"} else {}
        return {"name": name, "root": str(root), **size}

    return section
