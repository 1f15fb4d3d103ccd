"""Networks as programs of other runtimes: ONNX files, and programs of `torch.export`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config

from segbench.importing import optional

log = logging.getLogger(__name__)

Format = Literal["onnx", "torch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
KEY = "segbench"
"""Key of the description in the metadata of a file."""
EXTRA = "onnx"
"""Extra with the packages for ONNX."""


class Exported(NamedTuple):
    """A network that was traced."""

    program: torch.export.ExportedProgram
    fixed: tuple[int, int] | None
    """Height and width that it is limited to; None if it takes any size."""


def check_packages(to: Format) -> None:
    """Raise SegbenchError that names the extra if a package for the format is not installed."""
    if to == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            optional(package, EXTRA)


def traced(network: nn.Module, channels: int, size: tuple[int, int]) -> Exported:
    """Trace a network, for images of any number and size if it allows this.

    Args:
        network: maps B x C x H x W to logits; in evaluation mode.
        channels: C.
        size: height and width of the example, and of all images if the network allows no other.

    Raises:
        Exception: the network cannot be traced.
    """
    auto = torch.export.Dim.AUTO
    example = torch.zeros(2, channels, *size)  # torch takes a size of 1 for a constant
    # else a padding of 0 at the size of the example becomes a rule for all sizes
    with _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        program = torch.export.export(network, (example,), dynamic_shapes=({0: auto, 2: auto, 3: auto},))
    if _takes_any_size(program, network, channels, size):
        return Exported(program, None)
    log.warning("the network does not allow other sizes; the file takes images of %d x %d only", *size)
    return Exported(torch.export.export(network, (torch.zeros(1, channels, *size),)), size)


@torch.inference_mode()
def _takes_any_size(
    program: torch.export.ExportedProgram, network: nn.Module, channels: int, size: tuple[int, int]
) -> bool:
    """Return whether a program gives the logits of the network at sizes that it was not traced at."""
    run = program.module()
    for height, width in ((size[0] + 17, size[1] + 9), (size[0] // 32 * 32 + 32, size[1] // 32 * 32 + 64)):
        images = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))
        try:
            found = run(images)
        except (AssertionError, RuntimeError):  # a guard of torch.export, or shapes that do not fit
            return False
        if not torch.allclose(found, network(images), rtol=1e-3, atol=1e-3):
            return False
    return True


def write(exported: Exported, to: Format, path: Path, description: dict[str, Any]) -> None:
    """Write a program, with its description in the file's metadata under the key `segbench`.

    Raises:
        Exception: an operation of the network has no form in ONNX.
    """
    text = json.dumps(description, ensure_ascii=False)
    if to == "torch":
        torch.export.save(exported.program, path, extra_files={f"{KEY}.json": text})
        return
    import onnx

    for library in ("onnxscript", "onnx_ir"):
        logging.getLogger(library).setLevel(logging.WARNING)
    made = torch.onnx.export(
        exported.program, dynamo=True, input_names=["images"], output_names=["logits"], verbose=False
    )
    assert made is not None
    model = made.model_proto
    onnx.helper.set_model_props(model, {KEY: text})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def runner(to: Format, path: Path) -> Callable[[Tensor], Tensor]:
    """Return a function that runs a file on B x C x H x W float32 images on the host."""
    if to == "torch":
        program: Any = torch.export.load(path).module()
        return lambda images: program(images)
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.contiguous().numpy()})[0])
