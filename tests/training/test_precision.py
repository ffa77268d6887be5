import pytest
import torch

from taskgroup.training import precision
from taskgroup.training.precision import autocast_dtype, training_device

CPU = torch.device("cpu")


def test_named_precisions_are_taken_as_they_are():
    assert autocast_dtype("float32", CPU) is None
    assert autocast_dtype("bfloat16", CPU) is torch.bfloat16


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, None),
        ({"avx512_f": True, "avx512_bf16": False}, None),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_auto_needs_native_products(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert precision.autocast_dtype("auto", CPU) is expected


def test_device_follows_the_machine():
    assert training_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
