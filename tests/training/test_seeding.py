"""The global state for layers that draw by themselves."""

import pytest
import torch

from taskgroup.training.seeding import seeded_global_state

CPU = torch.device("cpu")


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
