"""The parts of `python -m benchmarks.gpu` that need no network."""

from __future__ import annotations

import math
import os
import time
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from benchmarks.gpu import equality
from benchmarks.gpu.budget import share
from benchmarks.gpu.equality import DrawsOfTheProcessor, difference, without_dropout
from benchmarks.gpu.run import Item, Part, failed_checks, run_all
from benchmarks.gpu.table import fastest_network, page
from benchmarks.gpu.worker import NotApplicable, Record, Worker, attempt
from segbench.jobs.cost.work import Network, Work


def measured(name: str, rate: float, **changes: Any) -> Record:
    result = {
        "network": name, "task": "semantic", "precision": "bf16", "compiled": False, "size": (512, 1024),
        "batch": 16, "accumulate": 2, "images_per_second": rate, "memory": 3 * 2**30, "share": 0.41,
    }  # fmt: skip
    return Record("networks", name, "ok", "", 1.0, result | changes)


def test_time_that_a_part_does_not_use_goes_to_the_others() -> None:
    assert share(600, [1, 2, 3]) == 100
    assert share(580, [2, 3]) == 232  # the first one took 20 s
    assert share(50, [3]) == 50
    assert share(-5, [2, 3]) == 0


@given(st.floats(1, 1e5), st.lists(st.floats(0.1, 100), min_size=1, max_size=8))
def test_the_shares_add_up_to_the_whole(left: float, weights: list[float]) -> None:
    for number in range(len(weights)):
        left -= share(left, weights[number:])
    assert left == pytest.approx(0, abs=1e-6)


def test_a_difference_is_relative_to_each_loss() -> None:
    expected = {"large": 10.0, "small": 1.0}
    assert difference(expected, expected) == 0
    assert difference({"large": 10.0, "small": 1.002}, expected) == pytest.approx(0.002)
    assert difference({"large": 9.9, "small": 1.0}, expected) == pytest.approx(0.01)


def test_a_loss_near_zero_is_compared_with_a_share_of_the_total() -> None:
    gap = difference({"a": 10.0, "b": 1e-6}, {"a": 10.0, "b": 0.0})
    assert gap == pytest.approx(1e-5)
    assert difference({"a": 0.0}, {"a": 0.0}) == 0


@pytest.mark.parametrize("found", [{"a": math.nan}, {"a": math.inf}, {"b": 1.0}, {}])
def test_other_or_broken_losses_differ(found: dict[str, float]) -> None:
    assert difference(found, {"a": 1.0}) == math.inf
    assert difference({}, {}) == math.inf


def test_draws_for_any_device_are_those_of_the_processor() -> None:
    def draw(device: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        like = torch.empty(3, device=device)
        kept = nn.functional.dropout(torch.ones(3), 0.5)  # changed by what was drawn before
        return [
            torch.rand(2, device=device), torch.randperm(5, device=device), torch.randn_like(like),
            like.bernoulli_(0.5), like.clone().uniform_(), kept, torch.rand(2),
        ]  # fmt: skip

    plain = draw("cpu")
    with DrawsOfTheProcessor():
        own, other = draw("cpu"), draw("meta")
    assert all(torch.equal(a, b) for a, b in zip(plain, own))
    assert [t.device.type for t in other] == ["meta"] * 5 + ["cpu"] * 2
    assert torch.equal(other[-1], plain[-1])  # as many numbers were drawn on the processor


def test_a_network_without_dropout_repeats_its_output() -> None:
    network = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True).train()
    x = torch.rand(1, 4, 8)
    assert not torch.equal(network(x), network(x))
    without_dropout(network)
    assert torch.equal(network(x), network(x))


def test_losses_that_differ_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(class_path="tiny_networks:Plain", options={}, task="semantic")
    work = Work.model_construct(network=network)
    assert equality.check("plain", work, "cpu", 32, 2)["difference"] < 1e-5
    for value in (1.0009, 1.0021):
        found = iter([{"a": 1.0}, {"a": value}])
        monkeypatch.setattr(equality, "losses", lambda *_: next(found))  # noqa: B023
        with pytest.raises(RuntimeError, match=r"differ by 0\.0021") if value > 1.001 else nullcontext():
            equality.check("plain", work, "cpu", 32, 2)


def test_the_page_has_a_row_for_each_result_and_the_reasons_of_the_others() -> None:
    records = [
        measured("unet", 12.345),
        measured("fcn", 100.0, share=None, compiled=True),
        Record("networks", "a", "skipped", "no time | left", 0.0, {}),
        Record("networks", "b", "skipped", "no time | left", 0.0, {}),
        Record("loader", "set", "ok", "", 1.0,
               {"images": "set", "alone": 20.0, "workers": 4, "with_workers": 75.0}),
        Record("equality", "c", "failed", "losses differ", 0.0, {}),
    ]  # fmt: skip
    text = page(records, "python -m benchmarks.gpu")
    assert "| `unet` | semantic | bf16 | 512 x 1024 | 16 / 2 | 12.3 | 3 GiB | 41% |" in text
    assert "| `fcn` | semantic | bf16, compiled | 512 x 1024 | 16 / 2 | 100 | 3 GiB | – |" in text
    assert r"- skipped: a, b: no time \| left" in text
    assert "takes 100 images/s (`fcn`)" in text
    assert "- failed: c: losses differ" in text
    fastest = fastest_network(records)
    assert fastest and fastest["network"] == "fcn"
    assert failed_checks(records) == ["c"]
    assert failed_checks(records[:-1]) == []


def not_applicable() -> dict[str, Any]:
    raise NotApplicable("not here")


def broken(text: str) -> dict[str, Any]:
    raise RuntimeError(text)


def test_an_error_is_a_reason_and_one_of_cuda_ends_the_process() -> None:
    assert attempt(dict, ([("a", 2)],)) == ("ok", "", {"a": 2}, False)
    assert attempt(not_applicable, ()) == ("skipped", "not here", {}, False)
    assert attempt(broken, ("is  torn",)) == ("failed", "RuntimeError: is torn", {}, False)
    status, reason, _, ends = attempt(broken, ("CUDA error: an illegal memory access",))
    assert status == "failed" and "illegal" in reason and ends
    assert not attempt(broken, ("CUDA out of memory. Tried to allocate 2 GiB",))[3]


def test_an_item_that_hangs_or_dies_costs_its_process_only() -> None:
    worker = Worker()  # its calls are of the standard library: they start quickly
    try:
        first, same = (worker.run("p", "i", os.getpid, (), 120) for _ in range(2))
        failed = worker.run("p", "i", int, ("x",), 60)
        slow = worker.run("p", "i", time.sleep, (60,), 0.5)
        new = worker.run("p", "i", os.getpid, (), 120)
        ended = worker.run("p", "i", os._exit, (3,), 60)
    finally:
        worker.close()
    assert first.status == "ok" and first.result == same.result != new.result
    assert failed.status == "failed" and "ValueError" in failed.reason
    assert slow.status == "failed" and "stopped after" in slow.reason and slow.seconds < 30
    assert ended.status == "failed" and "status 3" in ended.reason


def test_without_time_everything_is_skipped_and_written() -> None:
    written: list[int] = []
    items = [Item("a", dict, ()), Item("b", dict, ())]
    records = run_all([Part("networks", 1, items)], 0, lambda found: written.append(len(found)))
    assert [r.status for r in records] == ["skipped", "skipped"] and written == [1, 2]
