"""The step of CONTRIBUTING.md does what the page says, on one worker and on two."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import ray.cloudpickle
import torch

from taskgroup.training.fit import fit
from taskgroup.training.parallel.group import WorkerGroup
from taskgroup.training.steps import base

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
PAGE = Path(__file__).parents[3] / "CONTRIBUTING.md"


def step_block():
    """The block of code that registers a step."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if "@STEPS.register" in block]
    return block


def trained(make, recorder, code, step):
    """Training losses of a trial whose step comes from the page, by task and epoch."""
    config = make(auxiliary_tasks=["depth"], training={"step": step, "optimizer": "sgd"})
    reporter, group = recorder(), WorkerGroup.current()
    with base.STEPS.scratch():
        exec(compile(code, PAGE.name, "exec"), ModuleType("noisy").__dict__)
        fit(config, reporter, group=group)
    losses = [
        row.metrics[f"{task}/train/loss"] for row in reporter.rows for task in config.task_set
    ]
    return torch.tensor(losses)


def test_the_noise_changes_the_training(make, recorder_class):
    noisy = trained(make, recorder_class, step_block(), "noisy")
    plain = trained(make, recorder_class, step_block(), "joint")
    assert noisy.isfinite().all()
    torch.testing.assert_close(noisy[:2], plain[:2], rtol=0.2, atol=0.0)
    assert not torch.equal(noisy, plain)


def test_two_workers_equal_one(workers, make, recorder_class):
    code = step_block()
    alone = trained(make, recorder_class, code, "noisy")
    first, _ = workers(2, lambda: trained(make, recorder_class, code, "noisy"))
    torch.testing.assert_close(first, alone, rtol=1e-3, atol=1e-3)


def test_an_unknown_step_is_refused_by_name(make, recorder_class):
    with pytest.raises(base.ConfigError, match=r"unknown training\.step 'noisy'; choose one of"):
        fit(make(training={"step": "noisy"}), recorder_class())
