import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segbench.errors import DeviceOutOfMemory, OutOfMemory, SegbenchError
from segbench.training.precision import Precision, has_bf16, is_depthwise, memory_errors, pick_device

CPU = torch.device("cpu")


def layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.Conv2d(8, 4, 3, padding=1))


def test_depthwise_is_a_convolution_of_each_channel_by_itself():
    assert is_depthwise(nn.Conv2d(4, 8, 3, groups=4)) and is_depthwise(nn.ConvTranspose2d(4, 4, 2, groups=4))
    assert not any(is_depthwise(m) for m in (nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(1, 4, 3), nn.ReLU()))


def test_depthwise_convolutions_are_differentiated_in_fp32():
    network = Precision.of("bf16", CPU).place_network(layers())
    x = torch.randn(2, 8, 9, 9).bfloat16()
    weight, bias = network[0].weight, network[0].bias
    with torch.autocast("cpu", torch.bfloat16):
        found = network[0](x)
        dense = network[1](x)
    assert found.dtype == dense.dtype == torch.bfloat16
    assert torch.equal(found, F.conv2d(x.float(), weight, bias, padding=2, groups=8).bfloat16())
    assert torch.equal(
        dense, F.conv2d(x, network[1].weight.bfloat16(), network[1].bias.bfloat16(), padding=1)
    )
    # the gradient of a sum over 162 products keeps more digits than bf16 has
    (gradient,) = torch.autograd.grad(found.float().sum(), weight)
    expected = torch.autograd.grad(F.conv2d(x.float(), weight, bias, padding=2, groups=8).sum(), weight)[0]
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5)


def test_without_gradients_all_is_bf16():
    network = Precision.of("bf16", CPU).place_network(layers())
    x = torch.randn(2, 8, 9, 9).bfloat16()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = network[0](x)
        expected = F.conv2d(x, network[0].weight, network[0].bias, padding=2, groups=8)
    assert torch.equal(found, expected)


def test_fp32_leaves_the_network_as_it_is():
    network = layers()
    placed = Precision.of("fp32", CPU).place_network(network)
    assert placed is network and "forward" not in vars(network[0])


def test_auto_takes_bf16_where_there_are_units_for_it():
    assert Precision.of("auto", CPU).name == ("bf16" if has_bf16(CPU) else "fp32")


@pytest.mark.parametrize(
    ("gpu", "capability", "bf16", "expected"),
    [
        ("NVIDIA A100-SXM4-40GB", (8, 0), True, "bf16"),
        ("Tesla V100-SXM2-16GB", (7, 0), False, "fp16"),
        ("NVIDIA GeForce RTX 2080 Ti", (7, 5), False, "fp16"),
        ("NVIDIA GeForce GTX 1660", (7, 5), False, "fp32"),
        ("Tesla P100-PCIE-16GB", (6, 0), False, "fp32"),
    ],
)
def test_auto_on_a_gpu_takes_what_it_has_units_for(monkeypatch, gpu, capability, bf16, expected):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    device = torch.device("cuda")
    assert Precision.of("auto", device).name == expected
    for name in ("fp32", "bf16", "fp16"):
        assert Precision.of(name, device).name == name


def test_formats_that_a_device_emulates_are_warned_of(caplog):
    precision = Precision.of("fp16", CPU)
    assert "fp16 is requested, but emulated on this device" in caplog.text
    assert precision.memory_format == torch.channels_last
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float16
    caplog.clear()
    with Precision.of("fp32", CPU).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert not caplog.text


def test_an_unknown_device_is_named():
    with pytest.raises(SegbenchError, match="unknown device 'tpuu'"):
        pick_device("tpuu")


@pytest.mark.parametrize("name", ["gpu", "GPU", "", "cuda:x", "cuda:-1", "mps", "meta", "cpu:1", "cuda:0 "])
def test_devices_that_are_none_of_ours_are_named(name: str) -> None:
    with pytest.raises(
        SegbenchError, match=f"device: unknown device '{name}'\n  remedy: use auto, cpu, cuda"
    ):
        pick_device(name)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), OutOfMemory),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
            OutOfMemory,
        ),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), OutOfMemory),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), OutOfMemory),
        (torch.OutOfMemoryError("CUDA out of memory."), DeviceOutOfMemory),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError),
    ],
)
def test_full_memory_is_recognised(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught, memory_errors("training", "use less"):
        raise error
    assert type(caught.value) is kind
