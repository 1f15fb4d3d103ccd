"""Plots as data URIs, so that the page stands alone."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import quote

SAFE = " !$'()*+,-./:;=?@[]^_`{|}~"
"""Characters that a data URI may hold as they are."""
_UNSEEN = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)
_ATTRIBUTES = re.compile(r' (?:id="[A-Za-z]+[\dD]*_\d+"|clip-path="[^"]*"|transform="rotate\(-0 [^"]*")')
_PLACES = re.compile(r' (?:d|x|y)="[^"]*"')
_DIGITS = re.compile(r"(\.\d)\d+")
_TAG = re.compile(r"<[^>]*>")


def data_uri(path: Path) -> str:
    """Return a plot as a data URI. SVG stays text, which is shorter than base64."""
    if path.suffix == ".svg":
        return f"data:image/svg+xml,{quote(compact(path.read_text(encoding='utf-8')), safe=SAFE)}"
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def compact(svg: str) -> str:
    """Return a shorter form of a plot of matplotlib that looks the same.

    It has no metadata, names of groups or clips, which nothing exceeds here. Places are rounded to a tenth of
    a pixel.
    """
    svg = _UNSEEN.sub("", svg).replace("'DejaVu Sans'", "DejaVu Sans")
    return _TAG.sub(_compact_tag, " ".join(svg.split()).replace("> <", "><"))


def _compact_tag(found: re.Match[str]) -> str:
    tag = _PLACES.sub(lambda place: _DIGITS.sub(r"\1", place[0]), _ATTRIBUTES.sub("", found[0]))
    return tag if "'" in tag else tag.replace('"', "'")
