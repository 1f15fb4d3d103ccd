"""Sets of pixels of an image as bits, 64 in a word: an eighth of the memory of a bool array, and of the time.

The pixels are those of a raveled image, the first one in the lowest bit. Bits beyond the last pixel are 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_WORD = np.dtype("<u8")
_ONE = _WORD.type(1)


def pack(mask: np.ndarray) -> np.ndarray:
    """Return a raveled bool mask as bits."""
    found = np.zeros(-(-mask.size // 64), _WORD)
    packed = np.packbits(mask, bitorder="little")
    found.view(np.uint8)[: len(packed)] = packed
    return found


def places(bits: np.ndarray) -> np.ndarray:
    """Return the positions of the pixels of a set, in rising order."""
    octets = bits.view(np.uint8)
    used = np.flatnonzero(octets != 0)  # most are 0
    found = np.flatnonzero(np.unpackbits(octets.take(used), bitorder="little").view(bool))
    return (used << 3).take(found >> 3) + (found & 7)


def grown(bits: np.ndarray, step: int) -> np.ndarray:
    """Return the union of a set and of itself `step` > 0 places earlier, `step` // 64 + 1 words shorter."""
    words, rest = divmod(step, 64)
    size = len(bits) - words - 1
    found = bits[words : words + size] >> rest
    if rest:
        found |= bits[words + 1 :] << (64 - rest)
    found |= bits[:size]
    return found


def later(bits: np.ndarray, step: int, size: int) -> np.ndarray:
    """Return a set `step` places later, cut to the `size` pixels of an image."""
    words, rest = divmod(step, 64)
    found = np.zeros(-(-size // 64), _WORD)
    stop = len(found) - words
    if stop > 0:
        found[words:] = bits[:stop] << rest
    if rest and stop > 1:
        found[words + 1 :] |= bits[: stop - 1] >> (64 - rest)
    if size % 64:
        found[-1] &= (_ONE << size % 64) - _ONE
    return found


def counts(sets: Sequence[np.ndarray], starts: np.ndarray) -> Iterator[np.ndarray]:
    """Yield for each set how many of its pixels are in each of N runs of pixels.

    Args:
        sets: bits of images of the same size.
        starts: N positions of the first pixels of the runs, in rising order. A run ends where the next one
            starts.
    """
    word = starts >> 6
    later = -(_ONE << (starts & 63).astype(_WORD))  # the pixels of a word that are not before the run
    for bits in sets:
        total = np.cumsum(np.bitwise_count(bits), dtype=np.int64)
        before = total.take(word)
        before -= np.bitwise_count(bits.take(word) & later)
        yield np.diff(before, append=total[-1:])
