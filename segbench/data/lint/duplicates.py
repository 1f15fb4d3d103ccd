"""Near-duplicates: images of two splits that look alike.

A network that was trained on one of them has seen the other. Images are compared by perceptual hashes of 64
bits (`imagehash.phash`), which survive another encoding, size or brightness.
"""

from __future__ import annotations

from collections.abc import Sequence

import imagehash
import numpy as np
from PIL import Image

from segbench.data.levels import scaled
from segbench.data.painting import shown

MAX_DISTANCE = 3
"""Bits in which the hashes of near-duplicates may differ. Then one of four bands of 16 bits is equal."""
BANDS = 4
WINDOW = 64
"""Neighbours with an equal band that each hash is compared with. It bounds the time on large datasets."""
SIDE = 32
FLAT = 8
"""Range of grey values, 0 to 255, below which an image has no structure to compare."""


def perceptual_hash(array: np.ndarray) -> int | None:
    """Return the hash of an image (H x W x C, with the stored values); None if it is of one colour."""
    image = Image.fromarray(shown(scaled(array, None)))
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    if np.ptp(np.asarray(small)) < FLAT:
        return None
    return int(str(imagehash.phash(small)), 16)


def near_duplicates(hashes: Sequence[int], splits: Sequence[str]) -> list[tuple[int, int, int]]:
    """Find pairs of images in two splits whose hashes differ in at most `MAX_DISTANCE` bits.

    Hashes are sorted by each band and compared with their neighbours only, in a time that grows with
    N log N. Images of a split with equal hashes count as one.

    Args:
        hashes: hash of each image.
        splits: split of each image.

    Returns:
        (index, index, distance) of each pair, the most alike first.
    """
    kinds = {split: number for number, split in enumerate(dict.fromkeys(splits))}
    first: dict[tuple[int, str], int] = {}
    for place, pair in enumerate(zip(hashes, splits)):
        first.setdefault(pair, place)
    index = np.array(list(first.values()), np.int64)
    hash_of = np.array([value for value, _ in first], np.uint64)
    split_of = np.array([kinds[split] for _, split in first], np.int64)
    found: dict[tuple[int, int], int] = {}
    width = 64 // BANDS
    for band in range(BANDS):
        key = (hash_of >> np.uint64(band * width)) & np.uint64(2**width - 1)
        order = np.lexsort((hash_of, key))
        for step in range(1, min(WINDOW, len(order) - 1) + 1):
            a, b = order[:-step], order[step:]
            alike = key[a] == key[b]
            if not alike.any():
                break
            a, b = a[alike], b[alike]
            distance = np.bitwise_count(hash_of[a] ^ hash_of[b])
            chosen = (distance <= MAX_DISTANCE) & (split_of[a] != split_of[b])
            for one, other, bits in zip(index[a[chosen]], index[b[chosen]], distance[chosen]):
                found[min(one, other), max(one, other)] = int(bits)
    pairs = [(int(one), int(other), bits) for (one, other), bits in found.items()]
    return sorted(pairs, key=lambda pair: (pair[2], pair[0], pair[1]))
