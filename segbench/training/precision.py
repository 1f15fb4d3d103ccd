"""Where a network runs and in which number format."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from segbench.contract.prediction import Target
from segbench.errors import OutOfMemory, SegbenchError
from segbench.models.network import Network

log = logging.getLogger(__name__)


def pick_device(name: str) -> torch.device:
    """auto: the GPU where there is one, else the processor."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", name):
        raise SegbenchError(
            f"no such device: '{name}'", where="device", remedy="use auto, cpu, cuda or cuda:<n>"
        )
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SegbenchError(
            f"'{name}' asked for, {torch.cuda.device_count()} CUDA devices found",
            where="device",
            remedy="check the driver and CUDA_VISIBLE_DEVICES, or use device: auto",
        )
    return device


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 runs on units of its own (AMX, AVX512-BF16, GPUs since Ampere), not emulated."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


@dataclass(frozen=True)
class Precision:
    """bf16 autocast with channels_last, or plain fp32."""

    device: torch.device
    bf16: bool

    @classmethod
    def of(cls, name: str, device: torch.device) -> Precision:
        """`name` as in `Recipe.precision`."""
        if name == "bf16" and not has_bf16(device):
            log.warning("bf16 is asked for, but emulated on this device: expect it to be slow")
        return cls(device, name == "bf16" or (name == "auto" and has_bf16(device)))

    @property
    def name(self) -> str:
        return "bf16" if self.bf16 else "fp32"

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.bf16 else torch.contiguous_format

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def place_network(self, network: Network) -> Network:
        network = network.to(self.device).to(memory_format=self.memory_format)
        if self.bf16 and self.device.type == "cpu":
            for module in network.modules():
                if is_depthwise(module):
                    differentiate_in_fp32(module)
        return network

    def place(self, images: Tensor) -> Tensor:
        return images.to(self.device, memory_format=self.memory_format, non_blocking=True)

    def place_target(self, target: Target) -> Target:
        def move(value: Any) -> Any:
            return value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value

        return {key: move(value) for key, value in target.items()}


def is_depthwise(module: nn.Module) -> bool:
    """Whether it is a convolution, transposed or not, of each channel by itself."""
    return isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.groups == module.in_channels > 1


def differentiate_in_fp32(module: nn.Module) -> None:
    """Let a module compute in fp32, inside autocast too, wherever gradients will be asked of it.

    oneDNN differentiates depthwise convolutions in bf16 up to ten times slower than in fp32, unless they have
    3 x 3 taps and stride 1; without gradients bf16 is the faster one.
    """
    forward = module.forward

    def in_fp32(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float()).to(x.dtype)

    module.forward = in_fp32


@contextmanager
def memory_errors(where: str, remedy: str) -> Iterator[None]:
    """Turn every way in which torch and Python run out of memory into `OutOfMemory`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(_out_of_memory(error), where=where, remedy=remedy) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory(_out_of_memory(error), where=where, remedy=remedy) from error


def _out_of_memory(error: Exception) -> str:
    return f"out of memory ({(str(error) or type(error).__name__).splitlines()[0]})"
