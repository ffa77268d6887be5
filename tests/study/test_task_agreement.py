"""Angles and joint gradients from inner products alone equal those of the vectors."""

from itertools import combinations

import numpy as np
import pytest

from taskgroup.study.task_agreement import agreement, subset_squares, unit_gram


@pytest.fixture
def vectors():
    """Gradients of four tasks for three images."""
    return np.random.default_rng(2).normal(size=(3, 4, 7)) * np.array([1, 10, 0.1, 3])[:, None]


def test_agreement_is_that_of_the_vectors(vectors):
    found = agreement(vectors @ vectors.transpose(0, 2, 1))
    norms = np.linalg.norm(vectors, axis=2)
    units = vectors / norms[..., None]
    joint, balanced = vectors.mean(1), units.mean(1)
    assert found.norms == pytest.approx(norms)
    assert found.cosines == pytest.approx(units @ units.transpose(0, 2, 1))
    assert found.joint_norm == pytest.approx(np.linalg.norm(joint, axis=1))
    assert found.balanced_norm == pytest.approx(np.linalg.norm(balanced, axis=1))
    towards = joint / np.linalg.norm(joint, axis=1)[:, None]
    assert found.joint == pytest.approx(np.einsum("ntd,nd->nt", units, towards))
    towards = balanced / np.linalg.norm(balanced, axis=1)[:, None]
    assert found.balanced == pytest.approx(np.einsum("ntd,nd->nt", units, towards))


def test_subsets_are_all_of_that_size(vectors):
    gram = vectors @ vectors.transpose(0, 2, 1)
    for size in range(1, 5):
        expected = [(vectors[:, list(s)].mean(1) ** 2).sum(1) for s in combinations(range(4), size)]
        assert subset_squares(gram, size, seed=0) == pytest.approx(np.stack(expected, 1))


def test_many_subsets_are_drawn_and_different():
    gram = np.eye(14)[None]
    found = subset_squares(gram, 7, seed=0)  # 3432 of them
    assert 256 < found.shape[1] <= 512
    assert found == pytest.approx(1 / 7)


def test_a_task_without_gradient_has_no_angle():
    gram = np.zeros((1, 2, 2))
    gram[0, 0, 0] = 4
    assert np.isnan(unit_gram(gram)[0, 1]).all()
    found = agreement(gram)
    assert found.norms.tolist() == [[2, 0]]
    assert found.joint[0, 0] == 1
    assert np.isnan(found.joint[0, 1])
    assert np.isnan(found.balanced_norm[0])
