"""What a detector found: the converter, its options, and notes for the user."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONVERTERS = "segbench.data.converters"


@dataclass
class Proposal:
    """A converter and its options for a folder.

    Attributes:
        converter: name of the module in `segbench.data.converters`.
        options: its options, without `folder`.
        seen: what was found, one sentence each.
        taken: how it was understood.
        otherwise: how to say that it was not, as options.
        images: a sample of the image files, for channels.
        names: names of images as the converter gives them, for groups.
    """

    converter: str
    options: dict[str, Any]
    seen: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @property
    def convert(self) -> str:
        return f"{CONVERTERS}.{self.converter}:convert"


def spread(items: list[Any], count: int) -> list[Any]:
    """Return up to `count` items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[int((k + 0.5) * len(items) / count)] for k in range(count)]
