"""Random numbers of a step: the same for every image, whatever the number of workers."""

import pytest
import torch

from taskgroup.draws import Draws, Share, derive_seed


def test_seeds_differ_by_seed_purpose_and_epoch():
    seeds = {
        derive_seed(seed, purpose, epoch)
        for seed in (0, 1, 12)
        for purpose in ("order", "attack")
        for epoch in (0, 1, 2)
    }
    assert len(seeds) == 18
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_golden_seed():
    """A change here makes every stored trial unrepeatable."""
    assert derive_seed(0, "order", 0) == 3955691223199900983


def test_streams_of_one_purpose_agree():
    first, second = (Draws.seeded(5, "attack", 1).rand(3) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("whole", [1, 3, 7, 8])
@pytest.mark.parametrize("name", ["rand", "randn"])
def test_each_image_gets_the_number_of_the_whole_batch(name, whole):
    def drawn(share, *size):
        draws = Draws.seeded(5, "attack").of(share)
        return getattr(draws, f"image_{name}")(*size)

    alone = drawn(Share.all_of(whole), whole, 2, 3)
    plain = getattr(torch, name)(
        (whole, 2, 3), generator=torch.Generator().manual_seed(derive_seed(5, "attack"))
    )
    assert torch.equal(alone, plain), "one worker draws what the generator alone would give"
    for size in (1, 2, 3, 5):
        for rank in range(size):
            share = Share(whole, range(rank, whole, size))
            assert torch.equal(drawn(share, len(share), 2, 3), alone[rank::size])


@pytest.mark.parametrize(
    "share", [None, Share.all_of(3), Share(7, range(1, 7, 3)), Share(2, range(0))]
)
def test_what_is_not_drawn_per_image_is_the_same_for_any_share(share):
    """Stripes of 3 colours are not 3 images."""
    draws = Draws(torch.Generator().manual_seed(1), share)
    found = [draws.rand(3, 1, 1), draws.randint(9, (3,)), draws.randperm(3), draws.rand(3)]
    again = torch.Generator().manual_seed(1)
    expected = [
        torch.rand(3, 1, 1, generator=again),
        torch.randint(9, (3,), generator=again),
        torch.randperm(3, generator=again),
        torch.rand(3, generator=again),
    ]
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_an_attack_that_dropped_images_draws_for_those_that_are_left():
    draws = Draws.seeded(0, "attack").of(Share(8, range(0, 8, 2)))
    assert draws.image_rand(3, 5).shape == (3, 5)


def test_shares_of_one_stream_follow_one_another():
    """Batch after batch one worker of two sees its rows of what a lone worker sees."""
    lone, one = Draws.seeded(3, "order"), Draws.seeded(3, "order")
    for whole in (8, 8, 5):
        rows = range(1, whole, 2)
        own = one.of(Share(whole, rows)).image_randn(len(rows), 2)
        assert torch.equal(own, lone.of(Share.all_of(whole)).image_randn(whole, 2)[1::2])


@pytest.mark.parametrize("count", range(7))
def test_rest_of_a_share_keeps_its_places_in_the_rest_of_the_batch(count):
    for rank in range(3):
        share = Share(7, range(rank, 7, 3))
        rest = share.without_first(count)
        assert share.first(count) + len(rest) == len(share)
        assert [row + count for row in rest.rows] == [row for row in share.rows if row >= count]
        assert rest.whole == 7 - count


def test_a_worker_without_images_knows_it():
    assert Draws.seeded(0, "attack").has_images
    assert not Draws.seeded(0, "attack").of(Share(1, range(1, 1))).has_images
