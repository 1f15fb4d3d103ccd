from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from segbench.config.schema import DatasetEntry

ENTRY = {"title": "t", "convert": "m:f", "tasks": ["semantic"], "licence": "l", "citation": "c"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"channels": 0}, "greater than or equal to 1"),
        ({"channels": 17}, "less than or equal to 16"),
        ({"channels": 3, "window": [240, -160]}, r"low < high, not \[240.0, -160.0\]"),
        ({"channels": 3, "window": [[0, 1], [0, 2]]}, "has 2 windows for 3 channels"),
        ({"channels": 1, "window": [0, float("inf")]}, "finite"),
    ],
)
def test_wrong_channels_and_windows(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DatasetEntry.model_validate(ENTRY | keys)


@pytest.mark.parametrize("window", [None, [-160, 240], [[-160, 240]], [[0, 1], [0, 2], [-5, 5]]])
def test_valid_windows(window: Any) -> None:
    entry = DatasetEntry.model_validate({**ENTRY, "channels": 3, "window": window})
    assert DatasetEntry.model_validate_json(entry.model_dump_json()) == entry
