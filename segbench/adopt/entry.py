"""Write the entry of an adopted folder, with comments that say how it was understood."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segbench.adopt.names import group_pattern
from segbench.adopt.proposal import Proposal

_WIDTH = 110


def name_of(folder: Path) -> str:
    """Return a name for the dataset of a folder: lower-case letters, digits and underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_")[:40]
    return name if name and name[0].isalnum() else "mine"


def entry_text(
    proposal: Proposal, folder: Path, title: str, tasks: Sequence[str], channels: int, notes: Sequence[str]
) -> str:
    """Return the YAML of an entry.

    Args:
        proposal: converter and options.
        folder: the folder that the user named.
        title: title of the dataset.
        tasks: tasks that the converted dataset has.
        channels: 1 or 3.
        notes: what was seen of the images.
    """
    lines = [
        "# Written by `segbench adopt`. Edit it as you like; then `segbench adopt FOLDER --name NAME --keep`"
    ]
    lines.append("# converts again and draws the contact sheet. All options: docs/reference.md")
    for heading, texts in (
        ("Seen", [*proposal.seen, *notes]),
        ("Taken", proposal.taken),
        ("To say otherwise, in `options`", proposal.otherwise),
    ):
        lines += ["#", f"# {heading}:"]
        for text in texts:
            lines += textwrap.wrap(
                _plain(text),
                _WIDTH,
                initial_indent="#   - ",
                subsequent_indent="#     ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    lines += [
        f"title: {_flow(title)}",
        f"convert: {proposal.convert}",
        f"tasks: [{', '.join(tasks)}]",
        f"channels: {channels}",
        "options:",
        f"  folder: {_flow(str(folder))}",
    ]
    for key, value in proposal.options.items():
        lines += _option(key, value)
    if "group" not in proposal.options and (pattern := group_pattern(proposal.names)) is not None:
        lines.append("  # The names look like groups (patient, video, ...). To keep each in one split:")
        lines.append(f"  # group: {_flow(pattern)}")
    lines += [
        "licence: not stated",
        "citation: not stated",
        "recipe:",
        "  fit: true  # crops, sizes and iterations follow the data, see docs/fitting.md",
        "  # augment: {vertical_flip: true, rotate90: true}  # where turned images show the same",
    ]
    return "\n".join(lines) + "\n"


def _option(key: str, value: Any) -> list[str]:
    if key == "splits" or (isinstance(value, dict) and len(value) > 3):
        return [f"  {key}:", *(f"    {_key(k)}: {_flow(v)}" for k, v in value.items())]
    return [f"  {key}: {_flow(value)}"]


def _key(key: Any) -> str:
    return str(key) if isinstance(key, int) or re.fullmatch(r"\d+|train|val|test", str(key)) else _flow(key)


def _flow(value: Any) -> str:
    """Return YAML in one line; text is in quotes where it could be read as anything else."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(
        r"(?!(?:true|false|yes|no|on|off|null|y|n)$)[a-z_][a-z0-9_]*", value
    ):
        return value
    return json.dumps(value, ensure_ascii=False)


def _plain(text: str) -> str:
    """Remove what would end a comment."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
