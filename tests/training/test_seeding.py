import pytest
import torch

from taskgroup.training.seeding import derive_seed, make_generator, seeded_global_state

CPU = torch.device("cpu")


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


def test_generators_of_one_purpose_agree():
    first, second = (torch.rand(3, generator=make_generator(5, "attack", 1)) for _ in range(2))
    assert torch.equal(first, second)


def test_global_state_is_seeded_inside_and_restored_after():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with seeded_global_state(7, CPU):
        inside = torch.rand(2)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded_global_state(7, CPU):
        assert torch.equal(torch.rand(2), inside)


def test_global_state_is_restored_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded_global_state(7, CPU):
        _ = int(torch.rand(1)) / 0
    assert torch.equal(torch.get_rng_state(), before)
