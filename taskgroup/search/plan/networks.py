"""Tries every network that a space may train, once, before anything is trained."""

from collections.abc import Iterator
from itertools import product

from taskgroup.config import parse
from taskgroup.search.space.distributions import leaves
from taskgroup.search.space.fixes import with_value
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.training.checks import build_tasks, check_crop, check_network
from taskgroup.training.config import TrialConfig
from taskgroup.training.epoch import num_images

SHAPING = ("model.", "dataset.image_size", "training.crop_size", "training.batch_size")
"""Beginnings of the keys that decide whether a network can take its images."""
MOST_TRIED = 32
"""Networks that are tried; of a space with more combinations those of single keys are."""


def check_networks(space: SearchSpace) -> None:
    """Try each network of a space on its images and its smallest batch; see ``check_network``.

    Raises:
        ConfigError: One cannot be trained; the message names backbone, size and reason.
        DataError: The data set's files are missing or foreign.
    """
    tried = set()
    for config in _networks(space):
        size = config.dataset.sample_size()
        if size is None:
            continue
        crop, batch = config.training.crop_size, _smallest_batch(config)
        check_crop(crop, size)
        cut = size if crop is None else (crop, crop)
        key = (config.model.model_dump_json(), size, cut, min(batch, 2))
        if key not in tried:
            check_network(config.model, build_tasks(config), size, cut=cut, batch=batch)
        tried.add(key)


def _networks(space: SearchSpace) -> Iterator[TrialConfig]:
    """Trials with every combination of what shapes a network."""
    searched = {
        name: leaf.extremes()
        for name, leaf in leaves(space.tree).items()
        if name.startswith(SHAPING)
    }
    combinations = list(product(*searched.values()))
    if len(combinations) > MOST_TRIED:
        yield from space.examples()
        return
    plain = space.example().model_dump()
    for values in combinations:
        tree = plain
        for name, value in zip(searched, values, strict=True):
            tree = with_value(tree, name, value)
        yield parse(TrialConfig, tree)


def _smallest_batch(config: TrialConfig) -> int:
    """Images of the smallest batch of an epoch."""
    size, count = config.training.batch_size, config.dataset.count("train")
    if count is None:
        return size
    images = num_images(count, size)
    return images % size or min(size, images)
