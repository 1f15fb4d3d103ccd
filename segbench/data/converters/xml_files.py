"""Read XML files that are not trusted."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

from segbench.data.converters.common import require
from segbench.errors import SegbenchError

FIX = "fix the file or remove it"
DEEPEST = 100
"""Largest depth of elements in elements."""


def read_xml(path: Path, encoding: str = "utf-8") -> Element:
    """Read an XML file.

    Declarations of a document type are rejected: their entities can expand to gigabytes, or read other files.

    Args:
        path: the file.
        encoding: its encoding. For "utf-8", one that the file declares has precedence.

    Raises:
        SegbenchError: it is not XML, declares a document type, or is nested too deeply.
    """
    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise SegbenchError(f"has more than {DEEPEST} elements in each other", where=path, remedy=FIX)
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def reject(*_: object) -> NoReturn:
        raise SegbenchError(
            "declares a document type (<!DOCTYPE>), which annotations do not need",
            where=path,
            remedy="remove the declaration if you trust the file",
        )

    try:
        data = require(path).read_bytes()
        if encoding != "utf-8":
            data = data.decode(encoding).encode()
        parser = ParserCreate(None if encoding == "utf-8" else "utf-8")
        parser.StartDoctypeDeclHandler = reject
        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = builder.data
        parser.Parse(data, True)
    except (ExpatError, OSError, ValueError, LookupError) as error:
        raise SegbenchError(
            f"is not XML ({error})", where=path, remedy=f"{FIX}, or name its `encoding` in the options"
        ) from error
    return builder.close()
