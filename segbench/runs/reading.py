"""Read what a run has recorded, as far as it can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from segbench.contract.run import RunDescription
from segbench.errors import SegbenchError
from segbench.files import read_json


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} if there is none or it cannot be read."""
    try:
        return mapping(read_json(path)) if path.exists() else {}
    except SegbenchError:
        return {}


def mapping(value: Any) -> dict[str, Any]:
    """Return a value that is a mapping, and {} for any other."""
    return value if isinstance(value, dict) else {}


def configuration(run: RunDescription) -> dict[str, Any]:
    """Return the configuration of a run (`run`), and the recipes by network and dataset (`recipes`)."""
    try:
        return mapping(yaml.load(run.config_yaml, yaml.CSafeLoader))
    except (yaml.YAMLError, RecursionError):
        return {}
