"""Every network, loss, metric, objective and attack on a pretended GPU: all tensors lie there."""

import pytest
import torch

from taskgroup.attacks.base import ATTACKS, AttackBudget
from taskgroup.attacks.compatibility import NEEDS, WITHOUT_L1
from taskgroup.attacks.losses.base import LOSSES, Setting
from taskgroup.attacks.losses.regression import LOSS_OF_SCORE
from taskgroup.data.augmentation import AUGMENTATIONS, augment
from taskgroup.data.base import Batch
from taskgroup.draws import Draws
from taskgroup.evaluation.objective.combined import combined_objective
from taskgroup.evaluation.objective.task_objective import TaskObjective
from taskgroup.models.backbones.timm_backbone import TIMM
from taskgroup.models.base import BACKBONES, DECODERS, NETWORKS, ModelConfig
from taskgroup.models.build import build_model
from taskgroup.tasks.base import TASKS, Target, TaskInfo, build_task
from taskgroup.training.divergence import DivergenceObjective
from taskgroup.training.steps.losses import TaskSums, TradesSums, mean_losses
from taskgroup.training.weighting.base import WEIGHTINGS, WeightedTask
from taskgroup.training.weighting.gradients import GradientWeighting

CLASSES = 5
SIZE = 32
DRAWS = Draws.seeded(0, "attack")
CLASSIFIED = {"segmentation", "parts", "classification", "superclass"}


def task_of(name):
    known = {"num_classes": CLASSES, "class_shares": (0.2,) * CLASSES, "background": 0}
    return build_task(TaskInfo(name, **(known if name in CLASSIFIED else {})))


def target_of(task, device):
    shape = (2, SIZE, SIZE) if task.output == "map" else (2,)
    valid = torch.ones(shape, dtype=torch.bool, device=device)
    valid[0] = False
    if task.info.num_classes is not None:
        return Target(torch.randint(CLASSES, shape, device=device), valid)
    return Target(torch.rand(2, task.channels, SIZE, SIZE, device=device) + 0.1, valid)


def prediction_of(task, device):
    map_shape = (2, task.channels, SIZE, SIZE)
    return torch.randn(map_shape if task.output == "map" else map_shape[:2], device=device)


@pytest.fixture
def setting(device, put_there):
    """``setting(*tasks)``: a network there, its tasks, targets and images."""

    def build(*names):
        tasks = [task_of(name) for name in names]
        model = put_there(build_on_cpu(ModelConfig(width=4, decoder_width=4), tasks))
        targets = {task.name: target_of(task, device) for task in tasks}
        return model, tasks, targets, torch.rand(2, 3, SIZE, SIZE, device=device)

    return build


def build_on_cpu(config, tasks):
    return build_model(config, tasks, seed=0).eval()


def test_a_tensor_without_a_device_is_found(device, wrong_place):
    there = torch.zeros(3, device=device)
    assert (there + 1).device == device
    assert (there + torch.tensor(1.0)).device == device  # one number goes along everywhere
    with pytest.raises(wrong_place, match="met tensors of the CPU"):
        _ = there + torch.zeros(3)
    with pytest.raises(wrong_place, match="met tensors of the CPU"):
        _ = torch.stack([there, torch.zeros(3)])


def test_a_planted_fault_in_a_network_is_found(device, setting, wrong_place, monkeypatch):
    model, _, _, images = setting("segmentation")
    model._buffers["mean"] = torch.zeros(1, 3, 1, 1)
    with pytest.raises(wrong_place):
        model(images)


BACKBONE_NAMES = [name for name in BACKBONES if name != TIMM] + [
    "timm/test_resnet",
    "timm/test_vit",
]


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_backbones(device, put_there, name):
    tasks = [task_of("depth"), task_of("classification")]
    model = put_there(build_on_cpu(ModelConfig(backbone=name, decoder_width=4), tasks))
    for output in model(torch.rand(2, 3, SIZE, SIZE, device=device)).values():
        assert output.device == device


@pytest.mark.parametrize("name", DECODERS)
def test_decoders(device, put_there, name):
    coarse = {"backbone": "drn_d_22"} if name in ("bilinear", "taskonomy") else {"width": 4}
    model = put_there(build_on_cpu(ModelConfig(decoder=name, **coarse), [task_of("depth")]))
    assert model(torch.rand(2, 3, SIZE, SIZE, device=device))["depth"].device == device


def test_every_network_is_rehearsed():
    assert set(NETWORKS) == {"multitask"}, "a new network: add it to the tests above"


@pytest.mark.parametrize("name", TASKS)
def test_tasks_and_metrics(device, name):
    task = task_of(name)
    prediction, target = prediction_of(task, device), target_of(task, device)
    for part in task.loss(prediction, target):
        assert part.device == device
    metric = task.metric()
    sums = metric.per_image(prediction, target.values, target.valid)
    assert sums.device == device
    assert all(score.device == device for score in metric.score(sums.sum(0)).values())
    assert task.readable(prediction).device == device


@pytest.mark.parametrize("name", LOSSES)
def test_losses(device, name):
    numbers = dict.fromkeys(LOSS_OF_SCORE.values(), "depth")
    numbers.update(angular="normals", within_11_25="normals")
    task = task_of(numbers.get(name, "segmentation"))
    prediction, target = prediction_of(task, device), target_of(task, device)
    towards = torch.randint(CLASSES, (2, SIZE, SIZE), device=device)
    setting = Setting(0.5, (0.1, 0.5, 1.0, 2.0, 0.25), towards)
    found = LOSSES[name](prediction, target.values, target.valid, setting)
    assert found.device == device


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(setting, device, name, norm):
    kinds = {"class": "classification", "class_map": "segmentation", "numbers": "depth"}
    main = kinds.get(NEEDS.get(name, ""), "segmentation")
    model, tasks, targets, images = setting(main, "normals")
    objective = TaskObjective(
        model, tasks, targets, main_task=tasks[0].name, attacked_tasks=[tasks[0].name]
    )
    budget = AttackBudget(norm=norm, epsilon=0.3, steps=3, restarts=2)
    if norm not in norms_of(name):
        pytest.skip(f"{name} is not for {norm}")
    assert ATTACKS[name](objective, images, budget=budget, draws=DRAWS).device == device


def norms_of(name):
    if name.startswith("mtrobust") or name.endswith("_seed"):
        return ("linf",)
    return ("linf", "l2") if name in WITHOUT_L1 else ("linf", "l2", "l1")


@pytest.mark.parametrize(
    "combine", ["sum", "relative", "unit_gradient", "loss_ratio", "worst_task"]
)
def test_objectives_of_several_tasks(setting, device, combine):
    model, tasks, targets, images = setting("segmentation", "depth")
    objective = combined_objective(
        model,
        tasks,
        targets,
        images,
        attacked_tasks=("segmentation", "depth"),
        combine=combine,
        autocast=None,
    )
    for values in objective(images, 0.5):
        assert values.device == device
    budget = AttackBudget(steps=2)
    assert ATTACKS["apgd"](objective, images, budget=budget, draws=DRAWS).device == device


def test_objective_of_trades(setting, device):
    model, _, targets, images = setting("segmentation")
    objective = DivergenceObjective.around(
        model, images, targets["segmentation"], task="segmentation"
    )
    for values in objective(images, 0.0):
        assert values.device == device


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_losses_of_a_step(setting, device, put_there, name):
    model, tasks, targets, images = setting("segmentation", "depth")
    weighted = [WeightedTask("segmentation", 1.0, True), WeightedTask("depth", 0.5, False)]
    weighting = put_there(WEIGHTINGS[name](weighted))
    losses = mean_losses(TaskSums(model, tasks)(targets, DRAWS, images))
    assert weighting(losses).device == device
    assert weighting.weights(losses).device == device
    if isinstance(weighting, GradientWeighting):
        return  # what aggregates is torchjd's
    trades = TradesSums(model, tasks, main_task="segmentation", beta=6.0)
    assert trades(targets, DRAWS, images, images.flip(-1)).device == device


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations(device, name):
    target = target_of(task_of("segmentation"), device)
    images = torch.rand(2, 3, SIZE, SIZE, device=device)
    batch = Batch(images, {"segmentation": target}, torch.arange(2, device=device))
    changed = augment(batch, name, draws=DRAWS, crop_size=24)
    assert changed.images.device == device
    assert changed.targets["segmentation"].values.device == device
