"""A stored shard is read as it was written, or not at all: then its images are attacked again."""

from dataclasses import replace

import pytest
import torch

from taskgroup.attacks.base import AttackBudget
from taskgroup.evaluation.perturbations.attack import NetworkAttack
from taskgroup.evaluation.shards.execute import run_shard
from taskgroup.evaluation.shards.shard import Shard
from taskgroup.evaluation.shards.store import ShardStore
from taskgroup.evaluation.subjects import Subject
from taskgroup.evaluation.suites.conditions import Condition
from taskgroup.results.record_files import read_records, write_records
from taskgroup.results.records import ImageRow
from taskgroup.results.storage.base import open_storage

SUBJECTS = (Subject(0, "network", "other", ""),)
BUDGET = AttackBudget(epsilon=4 / 255, steps=1)
SHARD = Shard(0, Condition("pgd", NetworkAttack("pgd", BUDGET, ("segmentation",))), 2, 5)
ALTERED = {
    "no row": lambda rows: [],
    "a row less": lambda rows: rows[:-1],
    "a row more": lambda rows: [*rows, rows[-1]],
    "another order": lambda rows: rows[::-1],
    "another image": lambda rows: [replace(rows[0], image=7), *rows[1:]],
    "another member": lambda rows: [*rows[:-1], replace(rows[-1], member="twin")],
    "another network": lambda rows: [*rows[:-1], replace(rows[-1], scored_trial=3)],
    "another task": lambda rows: [*rows[:-1], replace(rows[-1], task="mars")],
    "a sum less": lambda rows: [replace(rows[0], sums=rows[0].sums[1:]), *rows[1:]],
    "no sums": lambda rows: [replace(row, sums=()) for row in rows],
    "another radius": lambda rows: [replace(row, epsilon=1.0) for row in rows],
    "another seed": lambda rows: [replace(row, seed=9) for row in rows],
    "another split": lambda rows: [replace(row, split="confirm") for row in rows],
    "other tasks attacked": lambda rows: [replace(row, attacked_tasks=()) for row in rows],
}


@pytest.fixture
def store(make_loaded, trained, make_images, tmp_path):
    """A store with one shard of three images."""
    loaded = make_loaded([trained], make_images(7))
    kept = ShardStore(open_storage(tmp_path), SUBJECTS, loaded)
    kept.save(SHARD, run_shard(loaded, SHARD), [])
    return kept


def test_what_was_written_is_read(store, left_out):
    expected = run_shard(store.loaded, SHARD)
    found, panels = store.load(SHARD)
    assert panels == []
    assert found.index.tolist() == [2, 3, 4]
    for one, other in zip(found.parts, expected.parts, strict=True):
        assert one.sums.keys() == other.sums.keys()
        assert all(torch.equal(one.sums[task], other.sums[task]) for task in one.sums)
    assert left_out() == []


@pytest.mark.parametrize("name", ALTERED)
def test_changed_rows_are_named_and_left_out(name, store, left_out):
    rows = read_records(store.storage, store.name(SHARD), ImageRow)
    write_records(store.storage, store.name(SHARD), ImageRow, ALTERED[name](rows))
    assert store.load(SHARD) is None
    (problem,) = left_out()
    assert f"{store.name(SHARD)} must hold the " in problem
    assert problem.endswith(
        "that it was written with, but was changed; its images are attacked again"
    )


def test_a_torn_file_is_named_and_left_out(store, left_out):
    whole = store.storage.read(store.name(SHARD))
    for content in (whole[:-7], whole[: len(whole) // 2], b""):
        store.storage.write(store.name(SHARD), content)
        assert store.load(SHARD) is None
    assert left_out()


def test_torn_pictures_cost_the_shard_too(store, left_out):
    pictures = store.name(SHARD).removesuffix(".parquet") + ".panels"
    store.storage.write(pictures, b"PAR1")
    assert store.load(SHARD) is None
    assert pictures in left_out()[0]
