from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from tiny_networks import make_spec

from segbench.contract.recipe import Recipe
from segbench.data.dataset import Dataset
from segbench.errors import SegbenchError
from segbench.importing import load_object
from segbench.models.saved import build_network, load_backbone_weights


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tiny_networks", "not of the form package.module:Name"),
        ("tiny_network:Plain", "cannot import 'tiny_network'"),
        ("tiny_networks:Plane", "has no 'Plane'\n  remedy: did you mean 'Plain'"),
    ],
)
def test_class_that_is_not_there(path: str, message: str) -> None:
    with pytest.raises(SegbenchError, match=message):
        load_object(path)


def test_options_and_tasks_are_checked(shapes: Path) -> None:
    view = Dataset(shapes).view("semantic")
    with pytest.raises(SegbenchError, match="unexpected keyword argument 'widht'"):
        build_network(make_spec(options={"widht": 3}), view, 3)
    with pytest.raises(SegbenchError, match=r"cannot be trained for instance \(only for semantic\)"):
        build_network(make_spec(task="instance"), view, 3)


def test_spec_survives_json() -> None:
    spec = make_spec(options={"width": 3}, validate_every=3)
    assert type(spec).model_validate(json.loads(spec.model_dump_json())) == spec


def test_recipes_that_contradict_themselves() -> None:
    with pytest.raises(ValidationError, match="accumulate"):
        Recipe(iterations=1, batch_size=2, accumulate=3)
    with pytest.raises(ValidationError, match="validate_every"):
        Recipe(iterations=1, batch_size=2, select="best")


def test_spec_needs_no_torch() -> None:
    code = "import sys, segbench.contract.cell; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_backbone_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = {"a": torch.rand(3)}
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pth")
    torch.save({"state_dict": state}, tmp_path / "wrapped.pth")
    for path in tmp_path.iterdir():
        assert torch.equal(load_backbone_weights(path)["a"], state["a"])
    for name in ("broken.pth", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(SegbenchError, match=f"{name}: cannot be read"):
            load_backbone_weights(tmp_path / name)
