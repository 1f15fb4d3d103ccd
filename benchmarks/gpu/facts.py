"""The device, its driver and the libraries."""

from __future__ import annotations

from typing import Any

import torch

from segbench.jobs.cost.devices import accelerator
from segbench.training.precision import Precision, has_bf16, has_fp16
from segbench.training.runner.provenance import provenance


def facts(device: str) -> dict[str, Any]:
    """Return name, memory, capability, versions, and what the table of devices knows of it."""
    where = torch.device(device)
    found = provenance(where)
    entry = accelerator(found["gpu"] or "")
    found |= {
        "cudnn": torch.backends.cudnn.version() if where.type == "cuda" else None,
        "bf16": has_bf16(where),
        "fp16": has_fp16(where),
        "precision": Precision.of("auto", where).name,
        "sheet": {"name": entry.name, "fp32": entry.fp32, "bf16": entry.bf16, "fp16": entry.fp16}
        if entry
        else None,
    }
    if where.type == "cuda":
        properties = torch.cuda.get_device_properties(where)
        found |= {
            "memory": properties.total_memory,
            "capability": ".".join(map(str, torch.cuda.get_device_capability(where))),
            "multiprocessors": properties.multi_processor_count,
        }
    return found
