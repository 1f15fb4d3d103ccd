"""Keys of a recipe that the training loop applies, with values by hand."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tiny_networks import Everything, make_spec
from torch import nn

from segbench.errors import SegbenchError
from segbench.models.layers.backbones import Backbone
from segbench.models.saved import load_model
from segbench.training import parallel
from segbench.training.loop import Progress, Training, Validated

CPU = torch.device("cpu")
SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0}


def item(count: int = 4) -> Any:
    torch.manual_seed(count)
    return torch.rand(count, 3, 8, 8), [{"semantic": torch.randint(4, (8, 8))} for _ in range(count)]


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


class Interrupt(Exception):
    pass


def interrupted(run: Any, monkeypatch: pytest.MonkeyPatch, spec: Any, after: int) -> Any:
    """Run a training that dies after an iteration with a checkpoint, and then again."""
    step = Training.step

    def dies(self: Training, batches: Any) -> Any:
        if self.iteration == after:
            raise Interrupt
        return step(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", dies)
        with pytest.raises(Interrupt):
            run("interrupted", spec, checkpoint_every=0)
    return run("interrupted", spec)


def test_the_moving_average_by_hand(shapes: Path) -> None:
    """The first update copies the weights, later ones move by a quarter of the difference."""
    training = Training(shapes, make_spec(ema=0.75, optimizer=SGD), None, CPU)
    expected: dict[str, torch.Tensor] = {}
    for _ in range(3):
        training.step(iter([item()]))
        for name, value in training.network.state_dict().items():
            before = expected.get(name)
            expected[name] = value.clone() if before is None else 0.75 * before + 0.25 * value
    assert not torch.equal(training.weights["head.weight"], training.network.state_dict()["head.weight"])
    for name, value in training.weights.items():
        torch.testing.assert_close(value, expected[name])


def test_the_moving_average_is_validated_predicted_with_and_resumed(run, tmp_path, monkeypatch) -> None:
    spec = make_spec("Normalised", ema=0.9, validate_every=4, select="best", options=None)
    whole = run("whole", spec)
    assert interrupted(run, monkeypatch, spec, 5)["weights_digest"] == whole["weights_digest"]
    plain = run("plain", make_spec("Normalised", validate_every=4, select="best"))
    assert plain["weights_digest"] != whole["weights_digest"]
    losses = [[row["total"] for row in history(tmp_path / folder)] for folder in ("whole", "plain")]
    assert losses[0] == losses[1]  # the training itself is the same
    state = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    assert state["best"] == "best-8.pt"  # in a file of its own, since it changes rarely
    best = torch.load(tmp_path / "whole" / "best-8.pt", weights_only=True)
    average = state["average"]
    for name, value in load_model(tmp_path / "whole" / "model.pt", CPU).network.state_dict().items():
        assert torch.equal(value, best["weights"][name]), name
        assert torch.equal(value, average[f"module.{name}"]), name


def test_progress_counts_validations_without_a_lower_loss() -> None:
    progress = Progress()
    for loss, waited in ((3.0, 0), (2.0, 0), (2.0, 1), (2.5, 2), (1.0, 0), (float("nan"), 1)):
        progress.add(loss)
        assert progress.waited == waited
    assert progress.lowest == 1.0


def test_patience_ends_a_training_early(run, tmp_path, monkeypatch) -> None:
    """The third validation is the second without a lower loss; the learning rates are those of 12."""
    recipe = {"iterations": 12, "validate_every": 2, "patience": 2, "select": "best"}
    losses = {2: 1.0, 4: 1.5, 6: 1.2, 8: 0.1}

    def validate(self: Training, stopped: Any, measure: Any) -> Validated:
        found = Validated(losses[self.iteration])
        self.keep_if_best(found)
        return found

    monkeypatch.setattr(Training, "validate", validate)
    result = run("a", make_spec(**recipe))
    assert (result["iterations"], result["images"], result["selected_iteration"]) == (6, 24, 2)
    rows = history(tmp_path / "a")
    assert [row["iteration"] for row in rows] == [str(i) for i in range(1, 7)]
    assert float(rows[-1]["lr"]) == pytest.approx(0.01 * (1 - 5 / 12) ** 0.9)
    assert interrupted(run, monkeypatch, make_spec(**recipe), 5)["weights_digest"] == result["weights_digest"]
    assert [row["iteration"] for row in history(tmp_path / "interrupted")] == [str(i) for i in range(1, 7)]


def test_patience_needs_validations() -> None:
    with pytest.raises(ValidationError, match="patience needs validate_every"):
        make_spec(patience=2)


def test_class_weights_are_torchs(shapes: Path) -> None:
    weights = [0.5, 1.0, 2.0, 4.0]
    spec = make_spec(class_weights=weights, optimizer=SGD, precision="fp32")
    training = Training(shapes, spec, None, CPU)
    images, targets = item()
    targets[0]["semantic"][:4] = -100
    truth = torch.stack([t["semantic"] for t in targets])
    expected = nn.functional.cross_entropy(training.network(images), truth, torch.tensor(weights)).item()
    assert training.step(iter([(images, targets)]))["loss_cross_entropy"] == pytest.approx(expected, rel=1e-5)


def test_borders_add_to_the_sum_over_the_pixels(shapes: Path) -> None:
    training = Training(
        shapes, make_spec(border_weights={"w0": 5}, optimizer=SGD, precision="fp32"), None, CPU
    )
    images, targets = item(2)
    for target in targets:
        target["border"] = torch.rand(8, 8)
    losses = nn.functional.cross_entropy(
        training.network(images), torch.stack([t["semantic"] for t in targets]), reduction="none"
    )
    border = torch.stack([t["border"] for t in targets])
    expected = ((losses * (1 + border)).sum() / 128).item()
    found = training.network.losses(images, targets)["cross_entropy"].item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_borders_reach_the_training_and_the_validation(run, tmp_path: Path) -> None:
    recipe = {"validate_every": 8, "optimizer": SGD, "precision": "fp32"}
    run("plain", make_spec(**recipe))
    run("borders", make_spec(**recipe, border_weights={"w0": 50, "sigma": 10}))
    plain, borders = (history(tmp_path / folder) for folder in ("plain", "borders"))
    assert float(borders[0]["total"]) > 1.05 * float(plain[0]["total"])  # of the same weights
    assert float(borders[-1]["validation"]) > 1.05 * float(plain[-1]["validation"])


@pytest.mark.parametrize(
    ("network", "task", "recipe", "said"),
    [
        ("Everything", "panoptic", {"class_weights": "inverse_log"}, "cross_entropy and a softmax"),
        ("Everything", "panoptic", {"border_weights": {}}, "semantic network with the loss cross_entropy"),
    ],
)
def test_only_semantic_networks_weight_pixels(shapes, network, task, recipe, said) -> None:
    with pytest.raises(SegbenchError, match=f"{next(iter(recipe))} of .*{said}") as error:
        Training(shapes, make_spec(network, task=task, **recipe), None, CPU)
    assert "remove it from the recipe" in str(error.value)


def test_empty_images_are_skipped(shapes: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Everything, "tasks", ("instance",))
    root = tmp_path / "shapes"
    shutil.copytree(shapes, root)
    path = root / "train" / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] > 9]
    path.write_text(json.dumps(content))
    spec = make_spec("Everything", task="instance", batch_size=3, skip_empty=True)
    training = Training(root, spec, None, CPU)
    seen = [t["image_id"] for _, targets in training.batches(0) for t in targets]
    assert len(seen) == 8 * 3 and all(sorted(seen[i : i + 3]) == [10, 11, 12] for i in range(0, 24, 3))
    everything = Training(root, make_spec("Everything", task="instance", batch_size=3), None, CPU)
    assert len({t["image_id"] for _, targets in everything.batches(0) for t in targets}) == 12


def test_batch_norms_are_synchronised_on_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with an activation (timm's of EfficientNet), too; names and weights stay."""
    network: Any = Backbone("test_efficientnet")
    assert parallel.synchronised(network, CPU) is network  # one process
    monkeypatch.setattr(parallel, "size", lambda: 2)
    with pytest.raises(SegbenchError, match="on GPUs only") as error:
        parallel.synchronised(network, CPU)
    assert "sync_batch_norm: false" in str(error.value)
    before = network.state_dict()
    converted = parallel.synchronised(network, torch.device("cuda"))
    norms = [m for m in converted.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(m, nn.SyncBatchNorm) for m in norms)
    assert {k: v.shape for k, v in converted.state_dict().items()} == {k: v.shape for k, v in before.items()}


def test_sync_batch_norm_of_one_process_changes_nothing(run) -> None:
    plain, synchronised = (
        run(name, make_spec("Normalised", iterations=2, sync_batch_norm=on))
        for name, on in (("a", False), ("b", True))
    )
    assert plain["weights_digest"] == synchronised["weights_digest"]
