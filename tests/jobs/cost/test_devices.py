from __future__ import annotations

import pytest

from segbench.errors import SegbenchError
from segbench.jobs.cost import devices


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe"),
        ("NVIDIA A10", "A10"),
        ("Tesla V100-SXM2-32GB", "V100"),
        ("Tesla V100-PCIE-16GB", "V100 PCIe"),
        ("Tesla T4", "T4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA A10G", None),
    ],
)
def test_the_table_knows_gpus_by_what_the_driver_reports(reported: str, name: str | None) -> None:
    found = devices.accelerator(reported)
    assert (found and found.name) == name


def test_every_device_has_a_source_and_plausible_numbers() -> None:
    for one in devices.ACCELERATORS:
        assert one.source and 50 <= one.watts <= 1000 and 250 < one.bandwidth < 5000
        assert 5 < one.fp32 < 200
        assert all(low is None or one.fp32 < low < 3000 for low in (one.bf16, one.fp16))
        assert one.bf16 is None or one.fp16 is None
        assert devices.named(one.name).watts == one.watts


def test_names_of_users_need_no_case_and_no_vendor() -> None:
    assert devices.named("a100").kind == "A100"
    assert devices.named("nvidia rtx4090").kind == "RTX 4090"
    with pytest.raises(SegbenchError, match="did you mean"):
        devices.named("B100")


def test_seconds_follow_format_share_memory_and_cores() -> None:
    gpu = devices.named("A100")
    assert gpu.seconds(312e12, 0, "auto", 1) == pytest.approx(1 / devices.SHARE["bf16"])
    assert gpu.seconds(19.5e12, 0, "fp32", 8) == pytest.approx(1 / devices.SHARE["fp32"])
    assert devices.named("V100").seconds(125e12, 0, "auto", 1) == pytest.approx(1 / devices.SHARE["fp16"])
    assert devices.named("P100").seconds(10.6e12, 0, "auto", 1) == pytest.approx(1 / devices.SHARE["fp32"])
    assert gpu.seconds(312e12, 0, "fp16", 1) == pytest.approx(1 / devices.SHARE["fp16"])
    assert gpu.seconds(0, 1555e9, "fp32", 1) == pytest.approx(devices.PASSES)
    assert gpu.seconds(0, 1555e9, "bf16", 1) == pytest.approx(devices.PASSES / 2)
    core = devices.Device("core", False, {"fp32": 0.1}, 10, None)
    assert core.seconds(1e11, 0, "auto", 1) == pytest.approx(1 / devices.PROCESSOR_SHARE)
    assert core.seconds(0, 1e10, "auto", 1) == pytest.approx(devices.PROCESSOR_PASSES)
    assert core.seconds(1e12, 1e9, "auto", 1) == pytest.approx(2 * core.seconds(1e12, 1e9, "auto", 2))
    assert core.seconds(1e12, 0, "bf16", 1) > core.seconds(1e12, 0, "fp32", 1)
