"""Settings of torch by device and step; CUDA's are read back, no GPU is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_networks import make_spec

from segbench.training.kernels import choose_kernels, varying_sizes
from segbench.training.loop import Training

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """Restore torch's settings."""
    cudnn, tf32 = torch.backends.cudnn, torch.backends.cuda.matmul.allow_tf32
    before = cudnn.benchmark, cudnn.deterministic
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    yield
    cudnn.benchmark, cudnn.deterministic = before
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.use_deterministic_algorithms(deterministic, warn_only=warns)


def test_a_gpu_uses_tf32_and_a_processor_does_not() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    choose_kernels(CPU, training=True, one_size=True)
    assert torch.backends.cuda.matmul.fp32_precision != "tf32" and not torch.backends.cudnn.benchmark
    choose_kernels(CUDA, training=True)
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"
    assert torch.get_float32_matmul_precision() == "high"  # raises if the older and the newer flag differ
    assert torch.backends.mkldnn.matmul.fp32_precision != "tf32"


def test_kernels_are_timed_for_one_size_only() -> None:
    choose_kernels(CUDA, training=True, one_size=True)
    assert torch.backends.cudnn.benchmark
    with varying_sizes():
        assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark
    choose_kernels(CUDA, training=False)
    assert not torch.backends.cudnn.benchmark


def test_sums_have_a_fixed_order_in_trainings_on_a_processor() -> None:
    for device, training in ((CPU, True), (CPU, False), (CUDA, True)):
        choose_kernels(device, training=training)
        assert torch.are_deterministic_algorithms_enabled() == (device == CPU and training)


@pytest.mark.parametrize("crop", [[24, 24], None])
def test_a_training_with_crops_has_one_size(
    shapes: Path, monkeypatch: pytest.MonkeyPatch, crop: list[int] | None
) -> None:
    chosen = {}
    monkeypatch.setattr(
        "segbench.training.loop.choose_kernels", lambda device, **kwargs: chosen.update(kwargs)
    )
    Training(shapes, make_spec(augment={"crop": crop}, batch_size=1), None, CPU)
    assert chosen["training"] and chosen["one_size"] == (crop is not None)
