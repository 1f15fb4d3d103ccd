"""Find whether COCO files count pixels as images store them, or as viewers show them (EXIF)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segbench.data.dataset import Orientation
from segbench.data.images import read_header
from segbench.errors import SegbenchError

Size = tuple[int, int]
"""Height, width"""
_REMEDY = (
    "write `orientation: upright` (as annotation tools show images) or `orientation: stored` in `options`"
)


@dataclass(frozen=True)
class Sizes:
    """The sizes of an image, as stored and upright, and the one that its annotation file states."""

    image: Path
    stored: Size
    upright: Size
    turned: bool
    """Whether viewers turn or flip the image."""
    stated: Size | None

    def seen(self, orientation: Orientation) -> Size:
        return self.upright if orientation == "upright" else self.stored


def sizes_of(image: Path, height: int | None, width: int | None) -> Sizes:
    """Read the header of an image. `height`, `width`: as its annotation file states them."""
    (across, down), orientation = read_header(image)
    stored = down, across
    upright = stored[::-1] if orientation > 4 else stored
    stated = (height, width) if height and width and height > 0 and width > 0 else None
    return Sizes(image, stored, upright, orientation != 1, stated)


def orientation_of(found: Iterable[Sizes]) -> Orientation:
    """Return the orientation in which the stated sizes fit images that EXIF turns by a right angle.

    Raises:
        SegbenchError: images are turned, but the sizes do not show how their pixels are counted.
    """
    fits: dict[Orientation, list[Path]] = {"stored": [], "upright": []}
    turned = []
    for sizes in found:
        if not sizes.turned:
            continue
        turned.append(sizes.image)
        if sizes.stored != sizes.upright:
            for orientation, images in fits.items():
                if sizes.stated == sizes.seen(orientation):
                    images.append(sizes.image)
    if fits["stored"] and fits["upright"]:
        raise SegbenchError(
            f"the stated size fits the image only as it is stored, that of {fits['upright'][0]} only as "
            "viewers show it (EXIF orientation)",
            where=fits["stored"][0],
            remedy="annotate all images in the same way, or turn the files themselves "
            "(`mogrify -auto-orient FILE`)",
        )
    if turned and not any(fits.values()):
        more = f"; and {len(turned) - 1} more images" if len(turned) > 1 else ""
        raise SegbenchError(
            "viewers show the image turned or flipped (EXIF orientation), and its stated size does not show "
            f"whether its annotation counts pixels as stored or as shown{more}",
            where=turned[0],
            remedy=_REMEDY,
        )
    return "upright" if fits["upright"] else "stored"
