from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from segbench.adopt.entry import entry_text, name_of
from segbench.adopt.proposal import Proposal


def test_entry_keeps_any_text() -> None:
    options = {
        "splits": {"train": {"image": "a: b/{name}.png", "mask": ["#m/{name}.png", "n/{name}.png"]}},
        "classes": {0: "background", 1: "no", 2: 'it\'s "x"', 3: "naïve", 4: "5"},
        "void": [255, "#ffffff"],
        "objects": "on",
    }
    seen = "a file\nname: with lines\u2028and " + "long words " * 30
    proposal = Proposal("pairs", options, [seen], ["taken"], ["otherwise"])
    text = entry_text(proposal, Path("/data/it's #1"), 'My "data": 1', ["semantic"], 1, ["note"])
    entry = yaml.safe_load(text)
    assert entry["options"] == {"folder": "/data/it's #1"} | options
    assert (entry["title"], entry["tasks"], entry["channels"]) == ('My "data": 1', ["semantic"], 1)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert max(map(len, comments)) <= 110 and "#   - note" in comments


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Photos", "photos"), ("My cells (2)", "my_cells_2"), ("ñ", "mine"), ("_x_", "x"), ("a" * 80, "a" * 40)],
)
def test_name_of_a_folder(folder: str, name: str) -> None:
    assert name_of(Path("/data") / folder) == name
