"""Tests for all networks: inherit `NetworkTester`, and set the class and options of a small network.

Scenes are generated: a sky over ground, discs and boxes on them, every class with its own colour.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy as np
import pytest
import timm
import torch
from torch import Tensor
from torchvision.ops import box_iou

from segbench.contract.prediction import IGNORE, Instances, Prediction
from segbench.contract.view import Category, View
from segbench.errors import SegbenchError
from segbench.models.network import Network, SemanticNetwork

SKY = Category(id=1, name="sky", isthing=False, color=(0, 0, 255))
GROUND = Category(id=2, name="ground", isthing=False, color=(0, 255, 0))
DISC = Category(id=3, name="disc", isthing=True, color=(255, 0, 0))
BOX = Category(id=4, name="box", isthing=True, color=(255, 255, 0))
CLASSES = {
    "semantic": (SKY, GROUND, DISC, BOX),
    "detection": (DISC, BOX),
    "instance": (DISC, BOX),
    "panoptic": (SKY, GROUND, DISC, BOX),
}
COLORS = np.array([[1.5, -1, 0, 0.5], [-1, 1.5, -0.5, 1], [0, 0.5, 1.8, -1.5], [-1.8, -1.2, -1.5, -0.5]])


def make_view(task: str) -> View:
    return View(task, CLASSES[task])


def scene(task: str, size: tuple[int, int], channels: int, seed: int = 0) -> tuple[Tensor, dict[str, Any]]:
    """One image C x H x W and its target as `segbench.contract.prediction.Target` describes it."""
    random = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width]
    semantic = (y > height * random.uniform(0.4, 0.6)).astype(np.int64)
    objects: list[tuple[int, np.ndarray]] = []
    radius = min(size) // 6
    for kind, quarter in enumerate(random.permutation(4)[:3]):
        cy = height * (0.25 + 0.5 * (quarter // 2)) + random.uniform(-2, 2)
        cx = width * (0.25 + 0.5 * (quarter % 2)) + random.uniform(-2, 2)
        if kind % 2:
            mask = np.maximum(abs(y - cy), abs(x - cx)) <= radius
        else:
            mask = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        objects.append((2 + kind % 2, mask))
        semantic[mask] = 2 + kind % 2
    colors = np.resize(COLORS.T, (channels, 4)).T  # further channels repeat the first ones
    image = colors[semantic] + random.normal(0, 0.1, (height, width, 4))[..., np.arange(channels) % 4]
    image = torch.from_numpy(image).permute(2, 0, 1).float().contiguous()
    target: dict[str, Any] = {"image_id": seed, "valid": torch.ones(size, dtype=torch.bool)}
    if task == "semantic":
        return image, target | {"semantic": torch.from_numpy(semantic)}
    if task in ("detection", "instance"):
        segments = [(label - 2, mask) for label, mask in objects]
    else:
        segments = [(i, semantic == i) for i in (0, 1)] + objects
    masks = np.stack([mask for _, mask in segments])
    bounds = [
        [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] for ys, xs in (np.nonzero(mask) for mask in masks)
    ]
    target |= {
        "labels": torch.tensor([label for label, _ in segments]),
        "masks": torch.from_numpy(masks),
        "boxes": torch.tensor(bounds, dtype=torch.float32),
    }
    return image, without_masks(target) if task == "detection" else target


def without_masks(target: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in target.items() if key not in ("masks", "valid")}


def batch(task: str, count: int, size: tuple[int, int], channels: int = 3) -> tuple[Tensor, list[dict]]:
    pairs = [scene(task, size, channels, seed) for seed in range(count)]
    return torch.stack([image for image, _ in pairs]), [target for _, target in pairs]


def empty_target(task: str, size: tuple[int, int], void: bool) -> dict[str, Any]:
    """An image without objects, or one that is void everywhere."""
    target: dict[str, Any] = {"image_id": 0, "valid": torch.full(size, not void)}
    if task == "semantic":
        return target | {"semantic": torch.full(size, IGNORE if void else 0)}
    masks = torch.ones((1, *size), dtype=torch.bool) if task == "panoptic" and not void else None
    if masks is not None:  # stuff only
        boxes = torch.tensor([[0.0, 0.0, size[1], size[0]]])
        return target | {"labels": torch.zeros(1, dtype=torch.int64), "masks": masks, "boxes": boxes}
    target |= {
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros((0, *size), dtype=torch.bool),
        "boxes": torch.zeros((0, 4)),
    }
    return without_masks(target) if task == "detection" else target


def iou(a: Tensor, b: Tensor) -> float:
    """IoU of two masks or two boxes."""
    if a.dtype != torch.bool:
        return float(box_iou(a[None], b[None]))
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def shapes(objects: Instances) -> Tensor:
    """Masks, or boxes where there are no masks."""
    return objects.boxes if objects.masks is None else objects.masks


def quality(task: str, prediction: Prediction, target: dict[str, Any]) -> float:
    """Pixel accuracy, or the share of true segments that a prediction of their class meets with IoU > .5."""
    if task == "semantic":
        return float((prediction.semantic == target["semantic"]).float().mean())
    if task in ("detection", "instance"):
        found = prediction.instances
        candidates = [
            (int(label), shape)
            for label, shape, score in zip(found.labels, shapes(found), found.scores)
            if score > 0.5
        ]
        key = "boxes" if found.masks is None else "masks"
    else:
        found = prediction.panoptic
        candidates = [(int(label), found.segments == k + 1) for k, label in enumerate(found.labels)]
        key = "masks"
    truth = list(zip(target["labels"].tolist(), target[key]))
    met = [any(a == label and iou(shape, s) > 0.5 for a, s in candidates) for label, shape in truth]
    return sum(met) / len(met)


def agreement(a: Prediction, b: Prediction) -> float:
    """Share on which two predictions of one image agree, without objects of low, tied scores."""
    shares = []
    if a.semantic is not None:
        shares.append(float((a.semantic == b.semantic).float().mean()))
    if a.panoptic is not None:
        # segments may be numbered in another order: compare what class each pixel has, and the number
        classes = [
            torch.cat([torch.full((1,), -1), p.labels.cpu()])[p.segments.cpu()]
            for p in (a.panoptic, b.panoptic)
        ]
        shares.append(float((classes[0] == classes[1]).float().mean()))
        shares.append(float(len(a.panoptic.labels) == len(b.panoptic.labels)))
    if a.instances is not None:
        sure = [(i.scores > 0.3, i) for i in (a.instances, b.instances)]
        (ka, ia), (kb, ib) = sure
        if int(ka.sum()) != int(kb.sum()):
            return 0.0
        for label, shape, score in zip(ia.labels[ka], shapes(ia)[ka], ia.scores[ka]):
            same = (ib.labels[kb] == label) & ((ib.scores[kb] - score).abs() < 1e-3)
            shares.append(max((iou(shape, s) for s in shapes(ib)[kb][same]), default=0.0))
    return min(shares) if shares else 1.0


class NetworkTester:
    """Every test runs for each task of the network."""

    network: ClassVar[type[Network]]
    tasks: ClassVar[tuple[str, ...] | None] = None
    """Tasks to test; None: all of the network."""
    options: ClassVar[dict[str, Any]] = {}
    """Options of a small network, quick on a CPU."""
    size: ClassVar[tuple[int, int]] = (64, 64)
    odd_size: ClassVar[tuple[int, int]] = (45, 71)
    backbone: ClassVar[str | None] = None
    """The timm backbone of `options`; None if the network has no backbone."""
    backbones: ClassVar[tuple[str, ...]] = ()
    """More backbones that must work."""
    steps: ClassVar[int] = 60
    lr: ClassVar[float] = 2e-3
    falls_to: ClassVar[float] = 0.4
    """Overfitting one batch brings the loss below this share of its first value."""
    enough: ClassVar[float] = 0.95
    """Quality on the batch after overfitting."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "task" in metafunc.fixturenames:
            name = type(self).__name__  # one worker runs all tests of a task: it calls `trained` once
            group, tasks = pytest.mark.xdist_group, self.tasks or self.network.tasks
            if "other_backbone" in metafunc.fixturenames:
                tasks = tasks[-1:]  # the richest: a backbone does not know the task
            metafunc.parametrize("task", [pytest.param(t, marks=group(f"{name}-{t}")) for t in tasks])
        if "other_backbone" in metafunc.fixturenames:
            metafunc.parametrize("other_backbone", self.backbones)

    @classmethod
    def make(cls, task: str, in_channels: int = 3, **options: Any) -> Network:
        torch.manual_seed(0)
        return cls.network(make_view(task), in_channels, **(cls.options | options))

    @classmethod
    def fit(
        cls, task: str, steps: int, enough: float = 0.0, **options: Any
    ) -> tuple[Network, list[float], dict[str, float]]:
        """Train a network on a batch of two; return it, the losses, and the largest gradient norms.

        It ends after `steps`, or once the mean of three losses is below `enough` times the first loss.
        """
        network = cls.make(task, **options).train()
        images, targets = batch(task, 2, cls.size)
        optimizer = torch.optim.AdamW(network.parameters(), cls.lr)
        history, norms = [], dict.fromkeys((name for name, _ in network.named_parameters()), 0.0)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = cls.lr * (1 - step / steps)
            loss = sum(network.losses(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            for name, parameter in network.named_parameters():
                if parameter.grad is not None:
                    norms[name] = max(norms[name], float(parameter.grad.norm()))
            optimizer.step()
            history.append(float(loss.detach()))
            if np.mean(history[-3:]) < enough * history[0]:
                break
        return network.eval(), history, norms

    @classmethod
    @functools.cache
    def trained(cls, task: str) -> tuple[Network, list[float], dict[str, float]]:
        """Train as `fit` does, until the batch is overfitted."""
        return cls.fit(task, cls.steps)

    def test_forward_gives_logits_at_the_size_of_the_input(self, task):
        network = self.make(task).eval()
        if not isinstance(network, SemanticNetwork):
            pytest.skip("only semantic networks give logits at the input's size")
        for size in (self.size, self.odd_size, (33, 32)):
            assert network(torch.randn(2, 3, *size)).shape == (2, len(network.view.classes), *size)

    @pytest.mark.parametrize("training", [True, False])
    def test_losses_are_finite_scalars_on_odd_sizes(self, task, training):
        network = self.make(task).train(training)
        losses = network.losses(*batch(task, 2, self.odd_size))
        assert losses
        for name, loss in losses.items():
            assert loss.shape == () and torch.isfinite(loss) and loss.requires_grad, name

    def test_same_seed_same_losses(self, task):
        first, second = (
            {
                k: float(v.detach())
                for k, v in self.make(task).train().losses(*batch(task, 2, self.size)).items()
            }
            for _ in range(2)
        )
        assert first == second

    def test_gradients_reach_every_parameter(self, task):
        _, _, norms = self.trained(task)
        assert [name for name, norm in norms.items() if not (np.isfinite(norm) and norm > 0)] == []

    def test_overfits_one_batch(self, task):
        network, history, _ = self.trained(task)
        assert np.mean(history[-3:]) < self.falls_to * history[0], history
        images, targets = batch(task, 2, self.size)
        for prediction, target in zip(network.predict(images, [self.size] * 2), targets):
            assert quality(task, prediction, target) >= self.enough

    def test_saved_and_loaded_it_predicts_the_same(self, task, tmp_path):
        network, _, _ = self.trained(task)
        torch.save(network.state_dict(), tmp_path / "weights.pt")
        torch.manual_seed(1)
        other = self.network(make_view(task), 3, **self.options).eval()
        other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        images, _ = batch(task, 1, self.size)
        a, b = (n.predict(images, [self.size])[0] for n in (network, other))
        assert agreement(a, b) == 1.0

    def check_batches(self, network: Network, task: str, size: tuple[int, int]) -> None:
        images, _ = batch(task, 3, size)
        together = network.predict(images, [size] * 3)
        for image, prediction in zip(images, together):
            assert agreement(network.predict(image[None], [size])[0], prediction) > 0.995

    def test_batch_size_never_changes_a_prediction(self, task):
        network, _, _ = self.trained(task)
        for size in (self.size, self.odd_size):
            self.check_batches(network, task, size)

    def test_predicts_at_the_sizes_asked_for(self, task):
        network, _, _ = self.trained(task)
        sizes = [self.size, self.odd_size, (100, 37)]
        images, _ = batch(task, 3, self.size)
        for size, found in zip(sizes, network.predict(images, sizes)):
            if found.semantic is not None:
                assert found.semantic.shape == size and found.semantic.dtype == torch.int64
                assert found.semantic.max() < len(network.view.classes)
            if found.panoptic is not None:
                assert found.panoptic.segments.shape == size
                assert (
                    found.panoptic.segments.max() <= len(found.panoptic.labels) == len(found.panoptic.scores)
                )
            if found.instances is not None:
                count = len(found.instances.scores)
                assert count and len(found.instances.labels) == count
                if found.instances.masks is None:
                    assert found.instances.boxes.shape == (count, 4)
                else:
                    assert found.instances.masks.shape == (count, *size)
                    assert found.instances.masks.dtype == torch.bool
        # objects land where they are: the doubled prediction is like the doubled mask
        images, targets = batch(task, 1, self.size)
        twice = (2 * self.size[0], 2 * self.size[1])
        for key in {"semantic", "masks"} & targets[0].keys():
            targets[0][key] = targets[0][key].repeat_interleave(2, -1).repeat_interleave(2, -2)
        if "boxes" in targets[0]:
            targets[0]["boxes"] *= 2
        assert quality(task, network.predict(images, [twice])[0], targets[0]) >= self.enough - 0.02

    @pytest.mark.parametrize("channels", [1, 5])
    def test_takes_any_number_of_channels(self, task, channels):
        network = self.make(task, channels)
        loss = sum(network.losses(*batch(task, 2, self.size, channels)).values())
        loss.backward()
        assert torch.isfinite(loss)
        network.eval().predict(batch(task, 1, self.size, channels)[0], [self.size])

    @pytest.mark.parametrize("void", [False, True])
    def test_images_without_truth_give_finite_losses(self, task, void):
        network = self.make(task).train()
        images, _ = batch(task, 2, self.size)
        loss = sum(network.losses(images, [empty_target(task, self.size, void)] * 2).values())
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)

    @pytest.mark.parametrize("channels", [3, 1])
    def test_loads_weights_of_its_backbone(self, task, channels):
        network = self.make(task, channels)
        if self.backbone is None:
            with pytest.raises(SegbenchError, match="no backbone"):
                network.load_backbone({})
            return
        torch.manual_seed(1)
        state = timm.create_model(self.backbone, pretrained=False).state_dict()
        network.load_backbone(state)
        own = network.backbone.net.model.state_dict()
        first = network.backbone.net.pretrained_cfg["first_conv"] + ".weight"
        for name, value in own.items():
            expected = state[name]
            if name == first and channels == 1:
                expected = expected.sum(1, keepdim=True)
            assert torch.equal(value, expected), name

    @pytest.mark.slow
    def test_learns_with_other_backbones(self, task, other_backbone):
        network, history, _ = self.fit(task, 25, 0.7, backbone=other_backbone)
        assert np.mean(history[-3:]) < 0.7 * history[0], history
        self.check_batches(network, task, self.odd_size)
