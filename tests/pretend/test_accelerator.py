"""The pretend accelerator itself: it refuses what CUDA refuses, and counts what CUDA waits for."""

from __future__ import annotations

import copy

import pytest
import torch
from pretend_accelerator import MixedDevices, OnDevice, counted
from torch.nn import functional as F
from torchvision.ops import nms

MIXED = {
    "sum": lambda own, host: own + host,
    "product": lambda own, host: own @ host,
    "join": lambda own, host: torch.cat([own, host]),
    "stacked numbers": lambda own, host: torch.stack([own.sum(), host.sum()]),
    "condition": lambda own, host: torch.where(host > 0, own, own),
    "host by indices of the device": lambda own, host: host[own.long()],
    "assigned values": lambda own, host: own.__setitem__(own.long()[0], host),
    "loss": lambda own, host: F.mse_loss(own, host),
    "in place": lambda own, host: host.add_(own),
    "layer": lambda own, host: torch.nn.Linear(3, 2)(own),
}


@pytest.mark.parametrize("name", MIXED)
def test_devices_do_not_mix(device, name):
    with pytest.raises((MixedDevices, RuntimeError), match="mixes tensors|same device"):
        MIXED[name](torch.ones(3, 3, device=device), torch.ones(3, 3))


def test_exceptions_are_those_of_cuda(device):
    own = torch.arange(4.0, device=device)
    assert (own * torch.tensor(2.0)).tolist() == [0, 2, 4, 6]
    assert own[torch.tensor([2])].tolist() == [2]
    own[torch.tensor([0])] = torch.tensor(7.0)
    assert own.tolist() == [7, 1, 2, 3]
    assert torch.where(own > 2, own, torch.tensor(0.0)).tolist() == [7, 0, 0, 3]


def test_a_generator_must_be_on_the_device(device):
    draws = torch.Generator(device).manual_seed(3)
    first = torch.randperm(9, generator=draws, device=device)
    assert torch.equal(first.cpu(), torch.randperm(9, generator=torch.Generator().manual_seed(3)))
    with pytest.raises(MixedDevices, match="generator"):
        torch.randperm(9, generator=torch.Generator().manual_seed(4), device=device)


WAITS = {
    "item": (1, lambda x: x[0, 0].item()),
    "float": (1, lambda x: float(x[0, 0])),
    "bool": (1, lambda x: bool((x > 0).all())),
    "list": (1, lambda x: x.tolist()),
    "to the host": (1, lambda x: x.cpu()),
    "to the host, later": (0, lambda x: x.to("cpu", non_blocking=True)),
    "nonzero": (1, lambda x: x.nonzero()),
    "nonzero of a known number": (0, lambda x: torch.nonzero_static(x, size=2)),
    "where": (1, lambda x: torch.where(x > 0)),
    "mask as an index": (1, lambda x: x[x > 0]),
    "two masks as indices": (2, lambda x: x[x[:, 0] > 0, x[0] > 0]),
    "mask filled with a number": (0, lambda x: x.__setitem__(x > 0, 0)),
    "mask filled with values": (1, lambda x: x.__setitem__(x > 0, x.sum())),
    "integers as an index": (0, lambda x: x[torch.arange(2, device=x.device)]),
    "integers of the host as an index": (1, lambda x: x[torch.arange(2)]),
    "masked select": (1, lambda x: x.masked_select(x > 0)),
    "unique": (1, lambda x: x.unique()),
    "bincount": (1, lambda x: x.long().flatten().bincount(minlength=9)),
    "repeat": (1, lambda x: torch.arange(3, device=x.device).repeat_interleave(x[0].long())),
    "one hot, known classes": (0, lambda x: F.one_hot(x.long(), 9)),
    "one hot, unknown classes": (1, lambda x: F.one_hot(x.long())),
    "equal": (1, lambda x: torch.equal(x, x)),
    "constant": (1, lambda x: torch.tensor([1.0, 2.0], device=x.device)),
    "constant like": (1, lambda x: x.new_tensor([1.0, 2.0])),
    "filled": (0, lambda x: torch.full((3,), 2.0, device=x.device) + x.new_zeros(3)),
    "from the host": (1, lambda x: torch.ones(3).to(x.device)),
    "from the host, not pinned": (1, lambda x: torch.ones(3).to(x.device, non_blocking=True)),
    "from pinned memory": (0, lambda x: torch.ones(3).pin_memory().to(x.device, non_blocking=True)),
    "from pinned memory, waiting": (1, lambda x: torch.ones(3).pin_memory().to(x.device)),
    "NMS": (1, lambda x: nms(x[:, :1] + torch.arange(4.0, device=x.device), x[:, 0], 0.5)),
    "arithmetic": (0, lambda x: ((x + 1) * 2).softmax(1).sum().sqrt().argmax()),
    "sort": (0, lambda x: x.flatten().topk(2).indices.sort()),
}


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", WAITS)
def test_waits_are_counted(device, name, mode):
    expected, operation = WAITS[name]
    x = torch.arange(9.0).view(3, 3).to(device)
    with mode(), counted() as waits:
        operation(x)
    assert len(waits) == expected, [*map(str, waits)]


def test_a_gradient_of_a_mask_as_an_index_waits_again(device):
    x = torch.arange(4.0, device=device).requires_grad_()
    with counted() as waits:
        x[x > 1].sum().backward()
    assert len(waits) == 2 and x.grad.tolist() == [0, 0, 1, 1]


def test_a_wait_names_the_line(device):
    x = torch.ones((), device=device)
    with counted() as outer:
        with counted() as inner:
            x.item()
        x.item()
    assert len(inner) == 1 and len(outer) == 2
    assert "item at test_accelerator.py" in str(inner[0])


def test_modules_move_copy_and_save(device, tmp_path):
    layer = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    moved = copy.deepcopy(layer).to(device)
    again = copy.deepcopy(moved)
    for name, value in again.state_dict().items():
        assert isinstance(value, OnDevice) and torch.equal(value.cpu(), layer.state_dict()[name])
    assert all(isinstance(p, torch.nn.Parameter) for p in again.parameters())
    torch.save(again.state_dict(), tmp_path / "weights.pt")
    found = torch.load(tmp_path / "weights.pt", map_location="cpu", weights_only=True)
    assert all(type(value) is torch.Tensor for value in found.values())
    layer.load_state_dict(found)
    moved.load_state_dict(layer.state_dict())
    assert all(isinstance(value, OnDevice) for value in moved.state_dict().values())


def test_autocast_follows_the_lists_of_cuda(device):
    layer = torch.nn.Conv2d(1, 2, 1).to(device)
    x = torch.ones(1, 1, 2, 2, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        low = layer(x)
        assert low.dtype == torch.bfloat16
        for high in (low.softmax(1), low.exp(), low.sum(), F.layer_norm(low, (2,)), torch.cat([low, x], 1)):
            assert high.dtype == torch.float32
        assert low.relu().dtype == (low + low).dtype == low.amax().dtype == torch.bfloat16
        with torch.autocast(device.type, enabled=False):
            assert layer(x).dtype == torch.float32
        low.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


def test_views_and_changes_in_place_are_seen(device):
    x = torch.zeros(2, 3, device=device)
    x[1].add_(2)
    x.view(6)[0] = 5
    assert x.tolist() == [[5, 0, 0], [2, 2, 2]]
