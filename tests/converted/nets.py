"""Networks as people write them in PyTorch, trained in a minute or two, and their ONNX files."""

# SPDX-License-Identifier: MIT

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from . import sets

BATCH = 128


class MLP(nn.Module):
    """Dense layers, with a normalisation behind the first."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Linear(784, 128), nn.BatchNorm1d(128)
        self.two, self.three = nn.Linear(128, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1, 28, 28) to (n, 10)."""
        x = torch.relu(self.norm(self.one(torch.flatten(x, 1))))
        return self.three(torch.relu(self.two(x)))


class LeNet(nn.Module):
    """Two convolutions with max-pools and three dense layers; probabilities at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 12, 5, padding=2), nn.Conv2d(12, 24, 5)
        self.head = nn.Sequential(
            nn.Linear(600, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1, 28, 28) to (n, 10)."""
        x = torch.max_pool2d(torch.relu(self.one(x)), 2)
        x = torch.relu(torch.max_pool2d(self.two(x), 2))
        x = self.head(x.reshape(x.size(0), -1))
        return x if self.training else torch.softmax(x, 1)


def block(inside: int, outside: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    """A convolution and its normalisation."""
    conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outside)]


class Inverted(nn.Module):
    """MobileNetV2's block: wider, depthwise, narrower without an activation, and a sum."""

    def __init__(self, inside: int, outside: int, stride: int, wider: int = 4):
        super().__init__()
        middle = inside * wider
        self.adds = inside == outside and stride == 1
        self.path = nn.Sequential(
            *block(inside, middle, 1, 1), nn.ReLU6(),
            *block(middle, middle, 3, stride, middle), nn.ReLU6(),
            *block(middle, outside, 1, 1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The path, and around it."""
        return x + self.path(x) if self.adds else self.path(x)


class Mobile(nn.Sequential):
    """Depthwise separable, with residual sums, for pictures of 32 x 32."""

    def __init__(self) -> None:
        super().__init__(
            *block(3, 16, 3, 2), nn.ReLU6(),
            Inverted(16, 16, 1), Inverted(16, 24, 2), Inverted(24, 24, 1), Inverted(24, 24, 1),
            Inverted(24, 32, 2), Inverted(32, 32, 1),
            *block(32, 96, 1, 1), nn.ReLU6(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10),
        )  # fmt: skip


class Separable(nn.Sequential):
    """The same with fewer blocks."""

    def __init__(self) -> None:
        super().__init__(
            *block(3, 16, 3, 2), nn.ReLU6(),
            Inverted(16, 16, 1), Inverted(16, 24, 2), Inverted(24, 24, 1), Inverted(24, 32, 2),
            *block(32, 96, 1, 1), nn.ReLU6(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10),
        )  # fmt: skip


class Sound(nn.Module):
    """Convolutions over time, of 16 bands."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in ((16, 24), (24, 32), (32, 48)):
            layers += [nn.Conv1d(inside, outside, 5, padding=2), nn.BatchNorm1d(outside)]
            layers += [nn.ReLU(), nn.MaxPool1d(2)]
        self.path, self.head = nn.Sequential(*layers), nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 16, 48) to (n, 10)."""
        return self.head(self.path(x).mean(2))


@dataclasses.dataclass(frozen=True)
class Model:
    """A net, its data (x / 255, less `mean`, through `std`), and how it is trained."""

    make: Callable[[], nn.Module]
    data: str
    title: str
    epochs: int
    rate: float
    axes: tuple[int, ...]  # of (n, h, w, c) data for the net
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    flip: bool = False

    def inputs(self, x: np.ndarray) -> torch.Tensor:
        """What the net takes, for (n, h, w, c) uint8."""
        x = x if x.ndim == 4 else x[..., None]
        x = (x / np.float32(255) - np.float32(self.mean)) / np.float32(self.std)
        x = x.reshape(len(x), *x.shape[2:]) if len(self.axes) == 3 else x
        return torch.from_numpy(np.ascontiguousarray(x.transpose(self.axes), np.float32))


MODELS = {
    "mlp": Model(MLP, "fashion-mnist", "MLP 784-128-64-10", 6, 0.05, (0, 3, 1, 2)),
    "lenet": Model(LeNet, "fashion-mnist", "LeNet", 3, 0.05, (0, 3, 1, 2)),
    "mobile": Model(
        Mobile, "cifar10-jpeg", "MobileNetV2's kind, 7 blocks", 8, 0.1, (0, 3, 1, 2),
        (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616), True,
    ),
    "separable": Model(
        Separable, "cifar10-jpeg", "MobileNetV2's kind, 4 blocks", 6, 0.1, (0, 3, 1, 2),
        (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616), True,
    ),
    "sound": Model(Sound, "spoken", "1-D convolutions", 20, 0.05, (0, 2, 1), (0.5,), (0.25,)),
}  # fmt: skip


def train(model: Model, say: Callable[[str], None] = print) -> nn.Module:
    """A trained net, in eval mode; the same on the same computer."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    net, (x, labels) = model.make(), sets.load(model.data)[0]
    labels = torch.from_numpy(labels.astype(np.int64))
    steps = model.epochs * (len(x) // BATCH)
    best = torch.optim.SGD(net.parameters(), model.rate, 0.9, weight_decay=5e-4, nesterov=True)
    falls = torch.optim.lr_scheduler.OneCycleLR(best, model.rate, total_steps=steps)
    for epoch in range(model.epochs):
        order, right = torch.randperm(len(x)), 0
        for at in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[at : at + BATCH]
            given = model.inputs(x[chosen.numpy()])
            if model.flip:
                given = torch.where(torch.rand(BATCH, 1, 1, 1) < 0.5, given.flip(3), given)
            out = net(given)
            best.zero_grad()
            nn.functional.cross_entropy(out, labels[chosen]).backward()
            best.step()
            falls.step()
            right += int((out.argmax(1) == labels[chosen]).sum())
        say(f"epoch {epoch + 1}: {right / len(x):.2%}")
    return net.eval()


def trained(name: str, folder: Path) -> nn.Module:
    """The net, from the folder when it was trained before."""
    path, model = folder / f"{name}.pt", MODELS[name]
    if not path.exists():
        net = train(model, lambda text: print(f"{name}, {text}", flush=True))
        torch.save(net.state_dict(), path)
    net = model.make()
    net.load_state_dict(torch.load(path, weights_only=True))
    return net.eval()


def export(net: nn.Module, model: Model, path: Path, dynamo: bool = True, opset: int = 18) -> None:
    """The net as an ONNX file, by PyTorch's newer or its older exporter."""
    h = sets.load(model.data)[1][0][:1]
    about = {"dynamo": dynamo, "opset_version": opset}
    about |= {"external_data": False, "verbose": False} if dynamo else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (model.inputs(h),), str(path), **about)
