"""Settings of torch by device and step; CUDA's are read back, no GPU is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_networks import make_spec

from segbench.errors import SegbenchError
from segbench.models.losses.semantic import cross_entropy
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


def test_deterministic_kernels_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    choose_kernels(CUDA, training=True, one_size=True, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    choose_kernels(CUDA, training=False, deterministic=True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    choose_kernels(CUDA, training=False)
    assert not torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.deterministic


def test_a_deterministic_training_is_the_same_on_a_processor(run) -> None:
    plain, fixed = (run(str(on), make_spec("Normalised", deterministic=on)) for on in (False, True))
    assert plain["weights_digest"] == fixed["weights_digest"]


def test_an_operation_without_a_deterministic_form_is_an_error(run) -> None:
    run("plain", make_spec("Unordered", iterations=1))
    with pytest.raises(SegbenchError, match="no deterministic form of put_ on this device") as caught:
        run("fixed", make_spec("Unordered", iterations=1, deterministic=True))
    assert "remove `deterministic`" in str(caught.value.remedy)


def test_the_loss_of_maps_is_not_summed_by_torch_where_that_has_no_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel of CUDA that sums has no deterministic form; that without a sum has one."""
    torch.manual_seed(0)
    logits, truth = torch.randn(2, 3, 5, 4), torch.randint(3, (2, 5, 4))
    truth[0, 0] = -100
    expected = cross_entropy(logits, truth)
    choose_kernels(CUDA, training=True, deterministic=True)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    how = []
    known = torch.nn.functional.cross_entropy

    def spied(*args: Any, **kwargs: Any) -> torch.Tensor:
        how.append(kwargs["reduction"])
        return known(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", spied)
    torch.testing.assert_close(cross_entropy(logits, truth), expected)
    assert how == ["none"]
