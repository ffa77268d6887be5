"""Fashion-MNIST (Xiao et al. 2017) in its original idx files, zipped or not."""

import gzip
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from taskgroup.data.base import DATASETS, Split
from taskgroup.data.files.download import Download
from taskgroup.data.files.locate import Layout
from taskgroup.data.files.pictures import MEMORY_LIMIT, LazyRows
from taskgroup.data.readers.reader import Contents, ReaderConfig
from taskgroup.errors import DataError
from taskgroup.paths import is_file

CLASS_NAMES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
PREFIXES: dict[Split, str] = {"train": "train", "test": "t10k"}
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_KINDS = ("images-idx3-ubyte", "labels-idx1-ubyte")


@DATASETS.register("fashion_mnist")
class FashionMnistConfig(ReaderConfig):
    """Fashion-MNIST: 28 x 28 grey pictures of 10 classes, shown as three equal channels."""

    name: Literal["fashion_mnist"] = "fashion_mnist"
    """Registry name of the data set."""
    # MNIST has the same file names, so a folder is only taken for Fashion-MNIST by its own name
    # (torchvision's and Debian's) or when it is the root that the reader named.
    layout = Layout(
        "fashion_mnist",
        tuple(f"{prefix}-{kind}*" for prefix in PREFIXES.values() for kind in _KINDS),
        folders=("FashionMNIST/raw", "fashion-mnist"),
        root_folders=(".", "raw"),
    )
    archive = Download(
        "FashionMNIST/raw",
        {
            f"{ADDRESS}/train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            f"{ADDRESS}/train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            f"{ADDRESS}/t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            f"{ADDRESS}/t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        is_archive=False,
    )

    def read(self, folder: Path) -> Contents:
        """Read the four idx files; validation and confirm are cut from train."""
        published: dict[Split, list[str]] = {}
        pixels, labels = [], []
        for split, prefix in PREFIXES.items():
            images, numbers = (read_idx(_file(folder, f"{prefix}-{kind}")) for kind in _KINDS)
            _check_pair(folder / f"{prefix}-{_KINDS[0]}", images, numbers)
            published[split] = [f"{prefix}/{row}" for row in range(len(images))]
            pixels.append(images[:, None])
            labels.append(numbers.astype(np.int64))
        return Contents(
            published=published,
            images=LazyRows.of(np.concatenate(pixels), self.size),
            maps={},
            vectors={"classification": np.concatenate(labels)},
            class_names={"classification": CLASS_NAMES},
        )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of bytes (LeCun's format), zipped if its name ends in ``.gz``.

    The header is ``0 0 8 D`` (unsigned bytes, D axes), then D big-endian 32-bit lengths.

    Raises:
        DataError: It is unreadable, truncated, or no idx file of bytes.
    """
    unpacked = gzip.open if path.suffix == ".gz" else open
    try:
        with unpacked(path, "rb") as file:
            content = file.read(MEMORY_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        found = getattr(error, "strerror", None) or error
        raise _damaged(path, f"{found}") from None
    if len(content) > MEMORY_LIMIT:
        raise _damaged(path, f"it holds more than {MEMORY_LIMIT >> 30} GB")
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise _damaged(path, f"it begins with {content[:4]!r}")
    header = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:header], ">u4", count=max(0, len(content[4:header]) // 4))
    if len(shape) != content[3] or len(content) != header + int(np.prod(shape, dtype=np.int64)):
        raise _damaged(path, f"it has {len(content)} bytes for the shape {shape.tolist()}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _damaged(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} must be a whole idx file of bytes, but {found}; "
        "fetch the file again from the original source"
    )


def _file(folder: Path, name: str) -> Path:
    """The plain file, or else the zipped one."""
    plain = folder / name
    return plain if is_file(plain) else plain.with_name(f"{name}.gz")


def _check_pair(path: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    if images.ndim != 3 or labels.shape != images.shape[:1] or (labels >= len(CLASS_NAMES)).any():
        raise DataError(
            f"{path} must hold P pictures with P labels from 0 to 9 beside it, got shapes "
            f"{images.shape} and {labels.shape}; fetch the files again from the original source"
        )
