"""Data sets that travel with a trial to machines which lack their files."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ray

from taskgroup.data.readers.reader import DecodedContents, ReaderConfig, adopt, has_adopted


@dataclass(frozen=True)
class CarriedDataset:
    """One decoded data set in Ray's object store, where the processes of a node share it.

    Attributes:
        config: Its section of the space.
        reference: Ray's reference to its decoded contents.
    """

    config: ReaderConfig
    reference: Any

    def __call__(self) -> None:
        """Let this process read the data set from the store; done once."""
        if not has_adopted(self.config):
            adopt(self.config, ray.get(self.reference))


def carry(datasets: Iterable[ReaderConfig]) -> tuple[CarriedDataset, ...]:
    """Decode data sets into the object store of the running cluster.

    Raises:
        DataError: One is too large for that.
    """
    return tuple(CarriedDataset(config, ray.put(DecodedContents.of(config))) for config in datasets)
