"""Damaged images, videos and models given to `segbench segment`, and damaged checkpoints to `train`."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from forked import check, random_of, seeds
from mutations import damaged, damaged_image, warped
from PIL import Image
from sources import photo

from segbench.contract.cell import CellSpec
from segbench.training.runner import train

RECIPE = {"iterations": 2, "batch_size": 2, "augment": {"crop": [16, 16]}, "precision": "fp32"}
SPEC = CellSpec.model_validate(
    {
        "class_path": "segbench.models.unet:UNet",
        "options": {"widths": [2, 4]},
        "task": "semantic",
        "seed": 0,
        "recipe": RECIPE,
    }
)


@pytest.fixture(scope="module")
def cell(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cell after its training, and the checkpoint of its end as done.pt."""
    folder = tmp_path_factory.mktemp("cell")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Attempt, "finish", lambda attempt: attempt._checkpoint())
        train.train(shapes, SPEC, folder, threads=1)
    (folder / "checkpoint.pt").rename(folder / "done.pt")
    train.train(shapes, SPEC, folder, threads=1)
    return folder


def segment(folder: Path, name: str, content: bytes, model: Path, named: list[str]) -> None:
    (folder / "in").mkdir()
    (folder / "in" / name).write_bytes(content)
    result = check(folder, named, "segment", model, folder / "in" / name, "--out", folder / "out")
    written = [p.name for p in (folder / "out").iterdir()] if (folder / "out").exists() else []
    assert len(written) == (0 if result.status else 1), written


@pytest.mark.parametrize("seed", seeds(6))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "GIF"])
def test_images(form: str, seed: int, cell: Path, tmp_path: Path) -> None:
    content = damaged_image(photo(form), random_of("image", form, seed))
    segment(tmp_path, f"photo.{form.lower()}", content, cell / "model.pt", ["photo."])


@pytest.mark.parametrize("seed", seeds(8))
def test_orientations(seed: int, cell: Path, tmp_path: Path) -> None:
    """Orientations that there are and others, in whole and damaged EXIF data."""
    rng = random_of("orientation", seed)
    exif = Image.Exif()
    exif[0x0112] = rng.choice((0, 3, 6, 8, 9, 255, 65535))
    content = exif.tobytes()
    start = rng.randrange(6, len(content))
    kept = rng.choice((content, content[:start], content[:start] + rng.randbytes(8)))
    file = io.BytesIO()
    Image.open(io.BytesIO(photo("PNG"))).convert("RGB").save(file, "JPEG", exif=kept)
    segment(tmp_path, "photo.jpeg", file.getvalue(), cell / "model.pt", ["photo."])


def film(matrix: list[int] | None = None) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as writer:
        stream = writer.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        stream.set_display_matrix(matrix)
        for i in range(4):
            pixels = np.full((24, 32, 3), 40 * i, np.uint8)
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        writer.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize("seed", seeds(6))
def test_rotations_of_videos(seed: int, cell: Path, tmp_path: Path) -> None:
    """Quarter turns, any numbers, and none."""
    rng = random_of("rotation", seed)
    turned = [0, 65536, 0, -65536, 0, 0, 0, 0, 2**30]
    drawn = [rng.choice((0, 1, -(2**31), 2**31 - 1, rng.randrange(-(2**31), 2**31))) for _ in range(9)]
    content = film(rng.choice((turned, drawn, [0] * 9)))
    segment(tmp_path, "film.mp4", content, cell / "model.pt", ["film.mp4"])


@pytest.mark.parametrize("seed", seeds(8))
def test_videos(seed: int, cell: Path, tmp_path: Path) -> None:
    content = damaged(film(), random_of("video", seed))
    segment(tmp_path, "film.mp4", content, cell / "model.pt", ["film.mp4"])


class Evil:
    """Makes a file where it is loaded as code."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, ("evil",)


def damaged_state(path: Path, rng: random.Random) -> bytes:
    """A file of torch: damaged bytes, a pickled object, tensors of other shapes or names, other values."""
    kind = rng.choice(("bytes", "bytes", "code", "tensors", "tensors", "values", "values", "values"))
    if kind == "bytes":
        return damaged(path.read_bytes(), rng)
    state = torch.load(path, weights_only=True)
    weights = state["weights"]
    if kind == "code":
        state[rng.choice((*state, "x"))] = Evil()
    elif kind == "tensors":
        name = rng.choice(list(weights))
        value = weights.pop(name)
        other = rng.choice((None, value[None], value[:0], value.to(torch.complex64), value.numpy().tolist()))
        if other is not None:
            weights[rng.choice((name, name, f"train.{name}"))] = other
    else:
        key = rng.choice([k for k in state if k not in ("weights", "identity")])
        changed = warped({key: state[key]}, rng)
        state = {**state, **changed} if isinstance(changed, dict) else changed
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@pytest.mark.parametrize("seed", seeds(20))
def test_models(seed: int, cell: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(damaged_state(cell / "model.pt", random_of("model", seed)))
    segment(tmp_path, "photo.png", photo(), tmp_path / "model.pt", ["model.pt"])


@pytest.mark.parametrize("seed", seeds(20))
def test_checkpoints(seed: int, cell: Path, shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    content = damaged_state(cell / "done.pt", random_of("checkpoint", seed))
    (tmp_path / "out" / "checkpoint.pt").write_bytes(content)
    result = check(
        tmp_path, ["checkpoint.pt"], "train", "--data", shapes, "--out", tmp_path / "out",
        "--spec", SPEC.model_dump_json(), "--threads", "1", "--device", "cpu",
    )  # fmt: skip
    assert (tmp_path / "out" / "model.pt").exists() == (result.status == 0)


def test_a_huge_picture_is_refused(cell: Path, tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    result = check(
        tmp_path, ["huge.png"], "segment", cell / "model.pt", tmp_path / "huge.png", "--out", tmp_path / "out"
    )
    assert result.status == 1
