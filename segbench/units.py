"""Format numbers and text for people."""

from __future__ import annotations

import math

NOTHING = "\N{EN DASH}"


def count(value: float) -> str:
    """Format a count: 1234567 -> '1.2 M'. NaN gives a dash."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return NOTHING if math.isnan(value) else f"{value:.0f}"


def duration(seconds: float) -> str:
    """Format a duration: 5400 -> '1.5 h'. NaN gives a dash."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return NOTHING if math.isnan(seconds) else f"{seconds * 1000:.3g} ms"


def energy(watt_hours: float) -> str:
    """Format an energy: 1500 -> '1.5 kWh', 0.02 -> '0.02 Wh'. NaN gives a dash."""
    if math.isnan(watt_hours):
        return NOTHING
    return f"{watt_hours / 1000:.3g} kWh" if watt_hours >= 1000 else f"{watt_hours:.2g} Wh"


def memory(size: float) -> str:
    """Format bytes: 3 * 2**30 -> '3 GiB', less than 0.1 GiB in MiB. NaN gives a dash."""
    if size < 2**30 / 10:
        return f"{size / 2**20:.2g} MiB"
    return NOTHING if math.isnan(size) else f"{size / 2**30:.2g} GiB"


def markdown_text(text: str) -> str:
    """Escape free text for one cell of a Markdown table: one line, without markup."""
    text = " ".join(text.split())
    for character in "\\`*_|[]":
        text = text.replace(character, "\\" + character)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
