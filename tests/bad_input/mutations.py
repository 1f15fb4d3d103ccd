"""Seeded damage to files: the same seed always does the same."""

from __future__ import annotations

import copy
import io
import json
import math
import random
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import loadmat, savemat

VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    255,
    65536,
    2**31,
    2**63,
    10**40,
    0.5,
    -1e308,
    math.nan,
    math.inf,
    "",
    "0",
    "../../../../evil",
    "/etc/passwd",
    "a\0b",
    "line\nbreak",
    "<script>alert(1)</script>",
    "x" * 300,
    "\N{RIGHT-TO-LEFT MARK}Ünïcode\N{PILE OF POO}",
    "\ud800",
    [],
    {},
    [[]],
    [{}],
    [None],
    ["a"],
    {"size": [8, 10], "counts": "0"},
    {"size": [1 << 20, 1 << 20], "counts": [1 << 40]},
    [[0, 0, 1e9, 0, 1e9, 1e9]],
]
"""What may stand where something else belongs."""


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Cut short, cut out, overwritten, doubled or with flipped bits."""
    if not data:
        return b"\xff"
    at, length = rng.randrange(len(data)), rng.choice((1, 2, 8, 64, 512))
    kind = rng.choice(("cut", "flip", "flip", "flip", "drop", "double", "random", "zero", "empty", "garbage"))
    if kind == "flip":
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 4, 32))):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind in ("random", "zero"):
        length = min(length, len(data) - at)
        return (
            data[:at] + (rng.randbytes(length) if kind == "random" else bytes(length)) + data[at + length :]
        )
    return {
        "cut": data[:at],
        "drop": data[:at] + data[at + length :],
        "double": data[: at + length] + data[at:],
        "empty": b"",
        "garbage": rng.randbytes(length),
    }[kind]


def places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every node below `tree`, breadth first."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    for node in waiting:
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
        found += [(node, key) for key in keys]
        waiting += [node[key] for key in keys]
    return found


def warped(tree: Any, rng: random.Random) -> Any:
    """A copy in which one or two nodes, rather near the top, are missing, doubled, renamed or replaced."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2))):
        if not (nodes := places(tree)):
            return rng.choice(VALUES)
        container, key = nodes[min(rng.randrange(len(nodes)), rng.randrange(len(nodes)))]
        kind = rng.choice(("delete", "value", "value", "value", "double", "wrap", "rename", "swap"))
        if kind == "delete":
            del container[key]
        elif kind == "double" and isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        elif kind == "wrap":
            container[key] = [container[key]]
        elif kind == "rename" and isinstance(container, dict):
            container[rng.choice(("id", "x", f"{key}s"))] = container.pop(key)
        elif kind == "swap":
            other, its = rng.choice(nodes)
            container[key] = copy.deepcopy(other[its])
        else:
            container[key] = rng.choice(VALUES)
    return rng.choice(VALUES) if rng.random() < 0.03 else tree


def damaged_json(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.15:
        return damaged(data, rng)
    return json.dumps(warped(json.loads(data), rng)).encode()


def disguised_json(data: bytes, rng: random.Random) -> bytes:
    """As others write it: another encoding, numbers as text, text as numbers, null, outlines that are empty,
    degenerate or elsewhere."""
    tree = json.loads(data)
    kind = rng.choice(("encoding", "encoding", "text", "number", "empty", "short", "far", "null"))
    if kind == "encoding":
        encoding = rng.choice(("utf-8-sig", "utf-16", "utf-16-be", "gbk", "cp1252", "shift_jis"))
        return json.dumps(tree, ensure_ascii=False).replace("nut", "é").encode(encoding, "replace")
    types = {"text": (int, float), "far": (int, float), "number": str, "empty": list, "short": list}
    for _ in range(rng.choice((1, 4))):
        nodes = places(tree)
        fitting = [(c, k) for c, k in nodes if isinstance(c[k], types.get(kind, object))]
        if fitting:
            container, key = rng.choice(fitting)
            container[key] = disguised(kind, container[key], rng)
    return json.dumps(tree).encode()


def disguised(kind: str, value: Any, rng: random.Random) -> Any:
    if kind == "text":
        return rng.choice((str(value), f" {value} ", f"{value}px", ""))
    if kind == "far":
        return rng.choice((-value, value - 12, value + 12, 1e12))
    if kind == "number":
        return rng.choice((3, 0, 1.5))
    if kind == "short":
        return value[: rng.randrange(1, 3)]
    return [] if kind == "empty" else None


def turned_image(data: bytes, rng: random.Random) -> bytes:
    """The image with an EXIF orientation, which may be none, and perhaps turned itself."""
    image = Image.open(io.BytesIO(data))
    exif = Image.Exif()
    exif[0x0112] = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65535))
    pixels = image.convert("RGB")
    if rng.random() < 0.5:
        pixels = pixels.transpose(Image.Transpose.ROTATE_90)
    file = io.BytesIO()
    pixels.save(file, image.format if image.format in ("JPEG", "TIFF") else "PNG", exif=exif)
    return file.getvalue()


def damaged_image(data: bytes, rng: random.Random) -> bytes:
    """Damaged bytes, or a sound image of another mode, size or kind, or one that declares a huge size."""
    if rng.random() < 0.4:
        return damaged(data, rng)
    if rng.random() < 0.15:
        return huge_png(rng.choice((20_000, 100_000, 2**31 - 1)))
    with Image.open(io.BytesIO(data)) as image:
        kind = str(image.format)
        array = np.asarray(image.convert("RGB"))
    height, width = rng.choice((array.shape[:2], array.shape[1::-1], (1, 1), (8, 9), (300, 1)))
    values = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (height, width, 4))
    mode = rng.choice(("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"))
    pixels = Image.fromarray(values.astype(np.uint8), "RGBA")
    if mode == "I;16":
        made = Image.fromarray((values[..., 0] * 257).astype(np.uint16))
    else:
        made = (
            pixels.convert("L").convert(mode) if mode in ("1", "F") else pixels.convert("RGB").convert(mode)
        )
    for form in (kind, "TIFF"):  # not every format holds every mode
        file = io.BytesIO()
        try:
            made.save(file, form)
            return file.getvalue()
        except OSError:
            continue
    raise AssertionError("TIFF holds every mode")


def huge_png(side: int) -> bytes:
    """A PNG of a few bytes that declares `side` x `side` pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def damaged_lines(data: bytes, rng: random.Random) -> bytes:
    """A list of names with a line too many, too few, or one that leads elsewhere."""
    if rng.random() < 0.3:
        return damaged(data, rng)
    lines = data.decode().splitlines()
    words = [v for v in VALUES if isinstance(v, str) and v.isprintable()]
    extra = rng.choice((*words, "one two three", "a\0b", "..", ".", lines[0].split()[0], lines[0]))
    lines.insert(rng.randrange(len(lines) + 1), extra)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def damaged_mat(data: bytes, rng: random.Random) -> bytes:
    """Damaged bytes, or a sound file whose fields are missing or of another kind."""
    if rng.random() < 0.5:
        return damaged(data, rng)
    content = {k: v for k, v in loadmat(io.BytesIO(data), simplify_cells=True).items() if k[0] != "_"}
    ((key, fields),) = content.items()
    field = rng.choice(list(fields))
    other = rng.choice(
        (None, "text", 7, 1.5, np.zeros((2, 3, 4)), np.full((8, 10), np.nan), {"a": 1}, [[], "b"])
    )
    fields[field] = other
    if other is None:
        del fields[field]
    file = io.BytesIO()
    savemat(file, {rng.choice((key, key, key, "other")): fields})
    return file.getvalue()
