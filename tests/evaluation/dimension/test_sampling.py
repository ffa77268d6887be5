"""Numbers of outputs, and random orders of an image's pixels."""

import pytest
import torch

from taskgroup.errors import ConfigError
from taskgroup.evaluation.dimension.options import attack_outputs, gradient_outputs
from taskgroup.evaluation.dimension.sampling import cut_order, plan_walks, random_ranks


def test_published_grids():
    every = gradient_outputs("seed", (), [10**6])
    assert len(every) == 200
    assert every[:3] == (1, 4, 8)
    assert every[99:102] == (396, 400, 600)
    assert every[-1] == 20200
    assert len(attack_outputs("seed", (), [10**6])) == 21
    assert attack_outputs("seed", (), [10**6])[6:9] == (200, 500, 1000)
    assert gradient_outputs("short", (), [10**6]) == (1, *range(4, 117, 4))
    assert attack_outputs("short", (), [10**6]) == (1, 2, 5, 10, 50, 100, 200)


def test_a_grid_ends_where_half_of_the_images_do():
    assert gradient_outputs("short", (), [5, 13, 13, 900]) == (1, 4, 8, 12)
    assert gradient_outputs("doubling", (), [5, 13, 900]) == (1, 2, 4, 8, 13)
    assert attack_outputs("doubling", (), [16]) == (1, 2, 4, 8, 16)


def test_chosen_numbers_are_sorted_and_must_fit():
    assert gradient_outputs("seed", (9, 2, 9), [9, 1]) == (2, 9)
    with pytest.raises(ConfigError, match=r"between 1 and the 9 valid pixels .* got 10; choose"):
        gradient_outputs("seed", (2, 10), [9, 1])
    with pytest.raises(ConfigError, match="got 0"):
        attack_outputs("seed", (0,), [9])
    with pytest.raises(ConfigError, match="grid must be one of: doubling, short, seed"):
        gradient_outputs("sede", (), [9])


@pytest.fixture
def valid():
    """Two images of which three quarters and almost nothing is valid."""
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[0, :, :2] = False
    valid[1] = False
    valid[1, 0, :3] = True
    return valid


def test_an_order_has_the_valid_pixels_first(valid):
    ranks = random_ranks(valid, torch.tensor([5, 9]), seed=0, repeat=0)
    for image in range(2):
        assert ranks[image].flatten().sort().values.tolist() == list(range(64))
        assert (ranks[image] < valid[image].sum()).equal(valid[image])


def test_orders_depend_on_image_repeat_and_seed_not_on_the_batch(valid):
    whole = torch.ones(3, 8, 8, dtype=torch.bool)
    index = torch.tensor([3, 4, 5])
    ranks = random_ranks(whole, index, seed=0, repeat=0)
    assert ranks[1:2].equal(random_ranks(whole[:1], index[1:2], seed=0, repeat=0))
    others = [(1, 0), (0, 1)]
    assert not any(ranks.equal(random_ranks(whole, index, seed=s, repeat=r)) for s, r in others)
    assert not ranks[0].equal(ranks[1])


def test_every_valid_pixel_is_as_likely(valid):
    many = valid[:1].expand(3000, 8, 8)
    ranks = random_ranks(many, torch.arange(3000), seed=0, repeat=0)
    share = (ranks < 12).float().mean(0)[valid[0]]
    assert share.mean() == pytest.approx(12 / 48)
    assert (share - 0.25).abs().max() < 4 * (0.25 * 0.75 / 3000) ** 0.5


GRIDS = [(1, 2, 4, 8, 16), (1, 4, 8, 12, 16), (3,), (2, 5, 11), (3, 5, 9), tuple(range(4, 80, 4))]


@pytest.mark.parametrize("outputs", GRIDS)
@pytest.mark.parametrize("repeats", [1, 2, 5])
@pytest.mark.parametrize("valid", [100, 16, 6, 0])
def test_walks_meet_every_number_by_disjoint_samples(outputs, repeats, valid):
    met = dict.fromkeys(outputs, 0)
    for walk in plan_walks(outputs, repeats, valid):
        assert sum(walk.parts) <= valid
        assert walk.unions.sum(0).all() or len(walk.parts) == walk.unions.shape[1]
        sizes = walk.unions.long() @ torch.tensor(walk.parts)
        assert sizes.tolist() == [outputs[place] for place in walk.place]
        for place in walk.place.unique():
            samples = walk.unions[walk.place == place]
            assert samples.sum(0).max() == 1, "samples of one number share no output"
            met[outputs[place]] += len(samples)
    expected = {count: repeats if count < valid else int(count == valid) for count in outputs}
    assert met == expected


@pytest.mark.parametrize("outputs", [*GRIDS, range(1, 100), (7,), (1000, 20200)])
def test_few_parts_have_every_number_as_a_union(outputs):
    parts = cut_order(outputs)
    assert sum(parts) == outputs[-1]
    assert len(parts) <= min(len(outputs), outputs[-1].bit_length())
    reached = {0}
    for part in parts:
        reached |= {size + part for size in reached}
    assert reached >= set(outputs)


def test_gradients_are_shared_between_numbers_and_samples():
    def gradients(outputs, repeats, valid):
        return sum(len(walk.parts) for walk in plan_walks(outputs, repeats, valid))

    doubling = tuple(2**power for power in range(13))
    assert gradients(doubling, 8, 4096) <= 8 * len(doubling) / 2
    published = gradient_outputs("seed", (), [10**6])
    assert gradients(published, 20, 10**6) < 20 * len(published) / 12
