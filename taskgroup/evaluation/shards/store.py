"""Finished shards on disk, so that an evaluation that was killed resumes where it stopped."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from taskgroup import __version__
from taskgroup.errors import DataError
from taskgroup.evaluation.loading import LoadedNetworks, NetworkSources
from taskgroup.evaluation.objective.expectation import NUM_DRAWS
from taskgroup.evaluation.shards.shard import Part, Shard, ShardResult
from taskgroup.evaluation.subjects import Subject
from taskgroup.results.record_files import or_left_out, read_records, write_records
from taskgroup.results.records import ImageRow, Panel
from taskgroup.results.storage.base import Storage

FOLDER = "shards"
KEY_LETTERS = 16


@dataclass(frozen=True)
class ShardStore:
    """Shards of one evaluation below a run directory.

    Attributes:
        storage: The run directory's.
        subjects: Whom the networks belong to.
        loaded: The networks.
    """

    storage: Storage
    subjects: tuple[Subject, ...]
    loaded: LoadedNetworks

    def name(self, shard: Shard) -> str:
        """Where a shard lies, by everything that its numbers depend on; keys are part of it."""
        subject, sources = self.subjects[shard.network], self.loaded.sources
        condition, networks = shard.condition, self.loaded.networks
        content = {
            "version": __version__,
            "network": networks[shard.network].digest,
            "judges": [networks[target].digest for target in shard.transfer_targets],
            "data": networks[shard.network].dataset.model_dump(mode="json"),
            **condition.perturbation.work,
            "range": [shard.first, shard.stop, shard.keeps_samples],
            "plan": [sources.split, sources.seed],
            "device": self.loaded.device.type,
        }
        if shard.randomised:
            content["draws"] = [NUM_DRAWS, *(networks[n].digest for n in shard.randomised)]
        text = json.dumps(content, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:KEY_LETTERS]
        number = "none" if subject.trial < 0 else f"{subject.trial:05d}"
        return f"{FOLDER}/{number}-{condition.name}-{key}-{shard.first:06d}.parquet"

    def load(self, shard: Shard) -> tuple[ShardResult, list[Panel]] | None:
        """A finished shard; None where there is none, or where a file of it is damaged.

        A damaged file is named in a warning; the shard is run again, and its files replaced.

        Raises:
            DataError: The storage cannot be reached.
        """
        name = self.name(shard)
        if not self.storage.exists(name):
            return None
        pictures = _panels_name(name)
        rows = read_records(self.storage, name, ImageRow)
        panels: list[Panel] | None = []
        if self.storage.exists(pictures):
            panels = read_records(self.storage, pictures, Panel)
        if rows is None or panels is None:
            return None
        result = or_left_out(lambda: self._result(shard, rows))
        return None if result is None else (result, panels)

    def save(self, shard: Shard, result: ShardResult, panels: Sequence[Panel]) -> None:
        """Write a finished shard, its pictures first.

        Raises:
            ResourceError: The disk is full or not writable.
        """
        name = self.name(shard)
        if panels:
            write_records(self.storage, _panels_name(name), Panel, panels)
        write_records(self.storage, name, ImageRow, self._rows(shard, result))

    def _rows(self, shard: Shard, result: ShardResult) -> list[ImageRow]:
        fields = {
            **_image_fields(self.subjects[shard.network], shard, self.loaded.sources),
            "seconds": result.seconds,
        }
        return [
            ImageRow(
                **fields,
                member=part.member,
                scored_trial=self.subjects[part.network].trial,
                image=int(image),
                task=task,
                valid=int(result.valid[task][position]) if task in result.valid else 0,
                sums=tuple(sums[position].tolist()),
            )
            for part in result.parts
            for task, sums in part.sums.items()
            for position, image in enumerate(result.index.tolist())
        ]

    def _result(self, shard: Shard, rows: Sequence[ImageRow]) -> ShardResult:
        """Rows in the order written, as they were found.

        Raises:
            DataError: They are not those of the shard.
        """
        positions = {subject.trial: place for place, subject in enumerate(self.subjects)}
        fields = _image_fields(self.subjects[shard.network], shard, self.loaded.sources)
        self._check(shard, all(row.scored_trial in positions for row in rows), "networks")
        for name in fields.keys() - {"label"}:  # which says nothing about numbers
            value = fields[name]
            self._check(shard, all(getattr(row, name) == value for row in rows), name)
        grouped: dict[tuple[str, int], dict[str, list[ImageRow]]] = {}
        for row in rows:
            grouped.setdefault((row.member, positions[row.scored_trial]), {}).setdefault(
                row.task, []
            ).append(row)
        networks = {network for _, network in grouped}
        self._check(shard, networks == {shard.network, *shard.transfer_targets}, "networks")
        parts = tuple(
            Part(member, network, {task: self._sums(shard, own) for task, own in tasks.items()})
            for (member, network), tasks in grouped.items()
        )
        own = next(tasks for (_, network), tasks in grouped.items() if network == shard.network)
        return ShardResult(
            parts=parts,
            index=torch.tensor([row.image for row in next(iter(own.values()))]),
            valid={task: torch.tensor([row.valid for row in rows]) for task, rows in own.items()},
            seconds=rows[0].seconds,
        )

    def _sums(self, shard: Shard, rows: Sequence[ImageRow]) -> torch.Tensor:
        """The sums of one task of one member, ``(N, S)``."""
        images = [row.image for row in rows]
        self._check(shard, images == list(range(shard.first, shard.stop)), "images")
        tasks = {task.name: task for task in self.loaded.networks[shard.network].tasks}
        self._check(shard, rows[0].task in tasks, "tasks")
        expected = tasks[rows[0].task].metric().size
        self._check(shard, all(len(row.sums) == expected for row in rows), "sums")
        return torch.tensor([row.sums for row in rows], dtype=torch.float64)

    def _check(self, shard: Shard, is_right: bool, what: str) -> None:
        if not is_right:
            raise DataError(
                f"{self.storage.full(self.name(shard))} must hold the {what} that it was written "
                "with, but was changed; its images are attacked again"
            )


def _image_fields(subject: Subject, shard: Shard, sources: NetworkSources) -> dict[str, Any]:
    """What every image row of a shard has in common."""
    condition = shard.condition
    return {
        "trial": subject.trial,
        "label": subject.label,
        "condition": condition.name,
        **condition.perturbation.row().of(ImageRow),
        "seed": sources.seed,
        "split": sources.split,
    }


def _panels_name(name: str) -> str:
    return name.removesuffix(".parquet") + ".panels"
