"""Damaged pictures and label maps: decoded, or refused by one line."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from taskgroup.data.files.pictures import picture_size, read_class_map, read_picture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # what Pillow says of odd headers
]
FAULTS = 1000
SIZE = (24, 32)
FORMATS = {
    "PNG": ("RGB", "L", "P", "LA", "I;16"),
    "JPEG": ("RGB", "L"),
    "TIFF": ("RGB", "L", "I;16"),
    "BMP": ("RGB", "P"),
}


@pytest.fixture(scope="module")
def pictures():
    """The content of small files, by format and mode."""
    noise = np.random.default_rng(0)
    found = {}
    for kind, modes in FORMATS.items():
        for mode in modes:
            if mode == "I;16":
                image = Image.fromarray(noise.integers(0, 1 << 16, SIZE).astype(np.uint16))
            else:
                image = Image.fromarray(noise.integers(0, 256, (*SIZE, 3)).astype(np.uint8))
                image = image.convert(mode)
            file = io.BytesIO()
            image.save(file, kind)
            found[f"{kind.lower()}-{mode}"] = file.getvalue()
    return found


def decoders(path):
    """The ways in which a reader opens a file."""
    yield lambda: picture_size(path)
    for resize in (True, False):
        yield lambda resize=resize: read_picture(path, SIZE, resize=resize)
        yield lambda resize=resize: read_class_map(path, SIZE, resize=resize, picture=path)


def test_a_damaged_picture_is_decoded_or_refused(
    pictures, spoiled, read_or_refused, tally, tmp_path
):
    chance = random.Random(0)
    for _ in range(FAULTS):
        name = chance.choice(sorted(pictures))
        path = tmp_path / f"{name}.{name.split('-')[0]}"
        path.write_bytes(spoiled(pictures[name], chance))
        for decode in decoders(path):
            pixels = read_or_refused(decode, path)
            tally["damaged pictures", "refused" if pixels is None else "decoded"] += 1
            if isinstance(pixels, np.ndarray):
                assert pixels.dtype == np.uint8
                assert pixels.shape[-2:] == SIZE
