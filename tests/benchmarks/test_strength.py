"""The strength benchmark: its own attackers, what it keeps, and how it judges goals."""

from types import SimpleNamespace

import pytest
import torch
from own_peers import IGNORED, balanced_hinge, cosine, cross_entropy, padam, targeted_margin
from strength_page import BELOW_SEA, checks
from strength_results import Entry, Store, suite_keys
from torch import nn

from taskgroup.attacks.base import ThreatModel
from taskgroup.data.base import Batch
from taskgroup.tasks.base import TaskInfo, build_task

EPSILON = 0.5
CLASSES = 3
TASK = build_task(TaskInfo("segmentation", num_classes=CLASSES))
ATTACKERS = {
    "padam": padam(cross_entropy, 10),
    "cos": padam(cosine, 10),
    "targeted": targeted_margin(1, 10),
    "hinge": balanced_hinge(1 / 8, 10),
}


@pytest.mark.parametrize(
    ("name", "is_dense"),
    [(name, True) for name in ATTACKERS] + [(name, False) for name in ATTACKERS if name != "cos"],
)
def test_own_attackers_fool_within_the_ball(name, is_dense):
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, CLASSES, 3, padding=1)]
    layers += [] if is_dense else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers).requires_grad_(False)
    images = torch.rand(4, 3, 8, 8)
    labels = network(images).argmax(1)
    if is_dense:
        labels[:, 0] = IGNORED
    made = ATTACKERS[name](network, images, labels, EPSILON)
    assert (made - images).abs().max() <= EPSILON + 1e-6
    assert made.min() >= 0
    assert made.max() <= 1
    right = (network(made).argmax(1) == labels)[labels != IGNORED]
    assert right.float().mean() < 1


@pytest.fixture
def seen():
    """An adversarial network of which nothing is known but its name."""
    return SimpleNamespace(
        case=SimpleNamespace(name="net", main_task="segmentation", is_adversarial=True),
        trained=SimpleNamespace(main=TASK, main_task="segmentation", digest="0" * 64),
        batch=Batch(torch.zeros(1, 3, 8, 8), {}, torch.zeros(1)),
        threat=ThreatModel(epsilon=EPSILON),
    )


def entry(right, passes=1.0):
    """One image of 100 pixels of two classes of which so many are right."""
    other = 100 - right
    labels = torch.tensor([[0] * 50 + [1] * 50])
    predicted = labels.clone()
    predicted[0, : other // 2] = 1
    predicted[0, 50 : 50 + other - other // 2] = 0
    logits = nn.functional.one_hot(predicted, CLASSES).movedim(-1, 1).float()
    shape = (1, 10, 10)
    target = labels.view(shape)
    sums = TASK.metric().per_image(logits.view(1, CLASSES, 10, 10), target, target >= 0)
    return Entry({"": sums}, passes, 0.0)


def test_store_keeps_what_is_finished_and_forgets_another_network(tmp_path, seen):
    Store(tmp_path, seen).write("sea 300", entry(50, passes=900))
    again = Store(tmp_path, seen)
    assert "sea 300" in again
    assert again["sea 300"].passes == 900
    assert again.worst(["sea 300"], "accuracy") == pytest.approx(0.5)
    seen.trained.digest = "1" * 64
    assert "sea 300" not in Store(tmp_path, seen)


def test_goals_compare_worst_cases(tmp_path, seen):
    store = Store(tmp_path, seen)
    for name in [*suite_keys("quick", seen), *suite_keys("standard", seen)]:
        store.write(name, entry(80))
    assert not any(check.is_met for check in checks([store]) if "SEA" in check.goal)
    store.write("tempered 50", entry(60))
    quick, standard = (check for check in checks([store]) if "SEA" in check.goal)
    assert quick.is_met
    assert quick.other - quick.ours > BELOW_SEA
    assert not standard.is_met
    store.write("peer own: some", entry(70))
    assert [check.is_met for check in checks([store]) if "peers" in check.goal] == [False]
