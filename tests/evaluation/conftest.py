"""A tiny network of three tasks, batches for it, and a way to train it a little."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

import taskgroup.tasks  # noqa: F401
from taskgroup.attacks.base import ThreatModel
from taskgroup.data.base import Batch, VisionDataset
from taskgroup.data.scenes import SceneConfig
from taskgroup.evaluation.loading import LoadedNetworks, NetworkSources, TrainedModel
from taskgroup.tasks.base import IGNORE, Target, TaskInfo, build_task

INFOS = (
    TaskInfo(
        "segmentation",
        num_classes=3,
        class_names=("dark", "middle", "bright"),
        class_shares=(0.3, 0.4, 0.3),
    ),
    TaskInfo("depth"),
    TaskInfo("classification", num_classes=2),
)


class TinyNetwork(nn.Module):
    """Segmentation, depth and classification of small images; counts the heads that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1)
        )
        self.heads = nn.ModuleDict(
            {
                "segmentation": nn.Conv2d(8, 3, 3, padding=1),
                "depth": nn.Conv2d(8, 1, 3, padding=1),
                "classification": nn.Linear(8, 2),
            }
        )
        self.ran: list[str] = []

    def forward(self, images, tasks=None):
        features = self.features(images)
        names = list(self.heads) if tasks is None else list(tasks)
        self.ran += names
        return {
            name: self.heads[name](features.mean((2, 3)) if name == "classification" else features)
            for name in names
        }


class Behind(nn.Module):
    """A network behind a function of its images."""

    def __init__(self, network, function):
        super().__init__()
        self.network, self.function = network, function

    def forward(self, images, tasks=None):
        return self.network(self.function(images), tasks)


@pytest.fixture(scope="session")
def behind():
    """``behind(network, function)`` is the network behind a function of its images."""
    return Behind


def make_batch(count: int, *, seed: int = 0, size: int = 16, first: int = 0) -> Batch:
    """Blurred noise; the class of a pixel is its brightness, its depth 1 + redness."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, size // 4, size // 4, generator=generator)
    images = interpolate(coarse, size=(size, size), mode="bilinear")
    classes = torch.bucketize(images.mean(1), torch.tensor([0.42, 0.58]))
    valid = torch.rand(classes.shape, generator=generator) > 0.1
    whole = torch.ones(count, dtype=torch.bool)
    everywhere = torch.ones_like(valid)
    targets = {
        "segmentation": Target(torch.where(valid, classes, IGNORE), valid),
        "depth": Target(1 + images[:, :1], everywhere),
        "classification": Target((images.mean((1, 2, 3)) > 0.5).long(), whole),
    }
    return Batch(images, targets, torch.arange(first, first + count))


@pytest.fixture
def tasks():
    """The three tasks."""
    return [build_task(info) for info in INFOS]


@pytest.fixture
def network():
    """Random weights, in training mode."""
    torch.manual_seed(0)
    return TinyNetwork().train()


def trained_weights(seed: int, *, epsilon: float = 0.0):
    """Weights after a short training on all three tasks, with one adversarial step if asked for."""
    torch.set_num_threads(1)  # a fixture of the session is made before those of the first test
    torch.manual_seed(seed)
    network = TinyNetwork().train()
    tasks = [build_task(info) for info in INFOS]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for step in range(150):
        batch = make_batch(16, seed=step + 1000 * seed)
        images = batch.images
        if epsilon:
            noisy = images + epsilon * (2 * torch.rand_like(images) - 1)
            predictions = network(noisy.requires_grad_())
            loss = sum(t.loss(predictions[t.name], batch.targets[t.name]).mean() for t in tasks)
            (gradient,) = torch.autograd.grad(loss, noisy)
            images = (images + epsilon * gradient.sign()).clamp(0, 1)
        predictions = network(images)
        loss = sum(
            task.loss(predictions[task.name], batch.targets[task.name]).mean() for task in tasks
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.state_dict()


@pytest.fixture(scope="session")
def trained_state():
    """Weights after a natural training."""
    return trained_weights(0)


@pytest.fixture(scope="session")
def other_states():
    """Weights after an adversarial training, and after another natural one."""
    return trained_weights(1, epsilon=8 / 255), trained_weights(2)


@pytest.fixture
def honest(trained, other_states):
    """Three honest networks."""
    networks = [trained]
    for state in other_states:
        network = TinyNetwork()
        network.load_state_dict(state)
        networks.append(network.eval())
    return networks


@pytest.fixture
def trained(trained_state):
    """The trained network, in evaluation mode."""
    network = TinyNetwork()
    network.load_state_dict(trained_state)
    return network.eval()


@pytest.fixture
def batch():
    """Eight images."""
    return make_batch(8, seed=1000)


@pytest.fixture
def batches():
    """Twenty images in batches of eight; the last one holds four."""
    whole = make_batch(20, seed=1001)
    return [whole.select(torch.arange(start, min(start + 8, 20))) for start in (0, 8, 16)]


class Held(VisionDataset):
    """Images that lie in memory."""

    def __init__(self, batch):
        self.held = batch

    def __len__(self):
        return len(self.held)

    def batch(self, indices):
        return self.held.select(torch.as_tensor(list(indices)))


@pytest.fixture
def make_loaded(tasks):
    """Networks that are all scored on the same images."""

    def make(models, batch, *, main_task="segmentation", threat=None, task_set=None, seed=0):
        chosen = [task for task in tasks if task_set is None or task.name in task_set]
        networks = tuple(
            TrainedModel(
                model,
                tuple(chosen),
                SceneConfig(name="scenes"),
                main_task,
                threat or ThreatModel(epsilon=4 / 255),
            )
            for model in models
        )
        datasets = tuple(Held(batch) for _ in networks)
        return LoadedNetworks(networks, datasets, torch.device("cpu"), NetworkSources(seed=seed))

    return make


@pytest.fixture
def make_images():
    """Draws a batch of so many images."""
    return make_batch
