"""The device and the number format of a network."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segbench.contract.prediction import Target
from segbench.contract.recipe import NumberFormat
from segbench.copying import upload
from segbench.errors import DeviceOutOfMemory, OutOfMemory, SegbenchError
from segbench.models.network import Network

log = logging.getLogger(__name__)

TYPES: dict[NumberFormat, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


def pick_device(name: str) -> torch.device:
    """Return the torch device of a name.

    Args:
        name: auto (the GPU if there is one, else the processor), cpu, cuda or cuda:<n>.

    Raises:
        SegbenchError: the name is not one of these, or this machine lacks the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", name):
        raise SegbenchError(
            f"unknown device '{name}'", where="device", remedy="use auto, cpu, cuda or cuda:<n>"
        )
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SegbenchError(
            f"'{name}' is requested, but {torch.cuda.device_count()} CUDA devices are found",
            where="device",
            remedy="check the driver and CUDA_VISIBLE_DEVICES, or use device: auto",
        )
    return device


def has_bf16(device: torch.device) -> bool:
    """Return whether a device computes bf16 in hardware (AMX, AVX512-BF16, GPUs since Ampere)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def has_fp16(device: torch.device) -> bool:
    """Return whether a device has tensor cores for fp16 (GPUs since Volta)."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (7, 0):
        return False
    return "GTX 16" not in torch.cuda.get_device_name(device)  # Turing without tensor cores


@dataclass(frozen=True)
class Precision:
    """The number format of a network on a device: bf16 or fp16 autocast with channels_last, or fp32."""

    device: torch.device
    name: NumberFormat

    @classmethod
    def of(cls, name: str, device: torch.device) -> Precision:
        """Build from `Recipe.precision`; auto is the first of bf16, fp16 and fp32 that the hardware has."""
        has: dict[NumberFormat, Callable[[torch.device], bool]] = {"bf16": has_bf16, "fp16": has_fp16}
        chosen: NumberFormat = "fp32"
        for low, known in has.items():
            if name == low:
                chosen = low
                if not known(device):
                    log.warning("%s is requested, but emulated on this device, and therefore slow", low)
            elif name == "auto" and chosen == "fp32" and known(device):
                chosen = low
        return cls(device, chosen)

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.contiguous_format if self.name == "fp32" else torch.channels_last

    def autocast(self) -> torch.autocast:
        """Return the context in which the network computes."""
        low = self.name != "fp32"
        return torch.autocast(self.device.type, TYPES[self.name] if low else torch.bfloat16, enabled=low)

    def scaler(self) -> torch.amp.GradScaler:
        """Return the scaler of the loss. It is active for fp16 only, whose smallest number is 6e-8."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")

    def place_network(self, network: Network) -> Network:
        """Move a network to the device and into the memory format."""
        network = network.to(self.device).to(memory_format=self.memory_format)
        if self.name == "bf16" and self.device.type == "cpu":
            for module in network.modules():
                if is_depthwise(module):
                    differentiate_in_fp32(module)
        return network

    def place(self, images: Tensor) -> Tensor:
        """Move B x C x H x W images to the device and into the memory format."""
        return upload(images, self.device).to(memory_format=self.memory_format)

    def place_target(self, target: Target) -> Target:
        """Move the tensors of a target to the device."""
        return {
            key: upload(value, self.device) if isinstance(value, Tensor) else value
            for key, value in target.items()
        }


def is_depthwise(module: nn.Module) -> bool:
    """Return whether a module is a depthwise convolution, transposed or not."""
    return isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.groups == module.in_channels > 1


def differentiate_in_fp32(module: nn.Module) -> None:
    """Make a module compute in fp32 while gradients are enabled, even inside autocast.

    oneDNN differentiates depthwise convolutions in bf16 up to ten times slower than in fp32, unless their
    kernel is 3 x 3 and their stride 1. Without gradients bf16 is faster.
    """
    forward = module.forward

    def in_fp32(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float()).to(x.dtype)

    module.forward = in_fp32


_SIGNS_OF_FULL_MEMORY = ("can't allocate memory", "is killed by signal: Killed", "exited unexpectedly")
"""In messages of torch; the last two are those of a loader process that the kernel has killed."""


@contextmanager
def memory_errors(where: str, remedy: str) -> Iterator[None]:
    """Convert the out-of-memory errors of torch and Python to `OutOfMemory` or, of a GPU, its subclass."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemory(_out_of_memory(error), where=where, remedy=remedy) from error
    except MemoryError as error:
        raise OutOfMemory(_out_of_memory(error), where=where, remedy=remedy) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _SIGNS_OF_FULL_MEMORY):
            raise
        raise OutOfMemory(_out_of_memory(error), where=where, remedy=remedy) from error


def _out_of_memory(error: Exception) -> str:
    return f"out of memory ({(str(error) or type(error).__name__).splitlines()[0]})"
