"""A sample is a function of its key: not of order, company, process or number of threads."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from taskgroup.data.base import SPLITS
from taskgroup.data.scenes.render import IMAGE, STORED, render

Sample = dict[str, NDArray[np.generic]]


def fingerprint(sample: Sample) -> str:
    return sha256(b"".join(sample[name].tobytes() for name in sorted(sample))).hexdigest()


def test_stored_types_shapes_and_finite_values() -> None:
    for size in (32, 45, 96):
        sample = render(0, "train", 0, size=size)
        assert set(sample) == set(STORED)
        for name, form in STORED.items():
            assert sample[name].dtype == form.dtype
            assert sample[name].shape == form.shape(size)
            assert np.isfinite(sample[name].astype(np.float64)).all()


@pytest.mark.parametrize("size", [32, 64])
def test_order_does_not_matter(size: int) -> None:
    forwards = [fingerprint(render(4, "test", index, size=size)) for index in range(6)]
    backwards = [fingerprint(render(4, "test", index, size=size)) for index in reversed(range(6))]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == 6


def test_another_process_with_other_threads_renders_the_same_bits(
    tmp_path: Path, forked: Callable[[Callable[[], None]], Callable[[], int]]
) -> None:
    def elsewhere() -> None:
        torch.set_num_threads(3)
        prints = [fingerprint(render(9, "confirm", index, size=80)) for index in (5, 2)]
        (tmp_path / "prints").write_text(" ".join(prints))

    assert forked(elsewhere)() == 0
    here = [fingerprint(render(9, "confirm", index, size=80)) for index in (2, 5)]
    assert (tmp_path / "prints").read_text().split() == here[::-1]


def test_splits_and_seeds_share_no_picture() -> None:
    pictures = {
        render(seed, split, index, size=32)[IMAGE].tobytes()
        for seed in (0, 1)
        for split in SPLITS
        for index in range(8)
    }
    assert len(pictures) == 2 * len(SPLITS) * 8


def test_every_size_shows_the_same_scene() -> None:
    small, large = (render(2, "train", 3, size=size) for size in (32, 96))
    third = large["depth"][0, 1::3, 1::3].astype(np.float64)
    near = np.abs(small["depth"][0] - third) <= 8  # stored steps: 2 millimetres
    assert near.mean() > 0.99
    same = small["segmentation"] == large["segmentation"][1::3, 1::3]
    assert same.mean() > 0.99


def test_pictures_are_well_exposed_and_noisy() -> None:
    pictures = np.stack([render(0, "train", index, size=48)[IMAGE] for index in range(24)])
    assert 80 < pictures.mean() < 150
    assert (pictures.std(axis=(1, 2, 3)) > 12).all()
    assert (pictures == 255).mean() < 0.05
    assert (pictures == 0).mean() < 0.01


def test_a_sample_is_as_recorded() -> None:
    """Small exact values: a change to the renderer must be meant, and said in its commit."""
    sample = render(0, "train", 0, size=32)
    found = {name: float(sample[name].astype(np.float64).mean()) for name in GOLDEN}
    assert found == pytest.approx(GOLDEN, rel=1e-3)


GOLDEN: dict[str, float] = {
    "image": 111.3496,
    "segmentation": 2.208984,
    "parts": 0.5478516,
    "classification": 5,
    "superclass": 0,
    "saliency": 0.2177734,
    "occlusion_edges": 0.0615234375,
    "depth": 11785.84,
    "normals": 9703.806,
    "curvature": 0,
    "reshading": 188.3994,
    "albedo": 178.0384,
    "keypoints3d": 0.2044819,
    "edges": 0.2840414,
    "keypoints2d": 0.1621446,
}
