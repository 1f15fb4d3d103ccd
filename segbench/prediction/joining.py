"""Join the objects of overlapping tiles: which pieces belong to one object.

The rule is that of SAHI (Akyon et al., ICIP 2022, https://github.com/obss/sahi): pieces of one class are
greedily merged where their overlap is large enough; the merged object has the highest score. It differs in
three ways, so that neighbours are not merged:

- The overlap counts in the region that both tiles see, where both should see the same.
- A piece has at most one partner in each other tile, the one with the largest intersection over union (more
  than 1/2). A piece without a partner is added to an object that looks like it in this sense (the object has
  another partner there), or, if its tile cuts it off, to one that covers more than half of what both tiles
  see of the piece, like SAHI's intersection over the smaller area. Pieces that are joined already are added
  only if this holds for all of them.
- A tile that sees all of an object decides its outline. Others are the union of their pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pycocotools import mask as coco

from segbench.data.coco.masks import areas
from segbench.prediction.outlines import Outline, Region, common, hull, seen_in

SAME = 0.5
"""Overlap above which two pieces are joined, as in SAHI."""
NEAR = 4
"""A piece is cut off if it ends within so many pixels of the network's input of an inner border of its tile.
Networks predict masks at a stride of 4."""
SURE = 0.5
"""Pieces below this share of the highest score of their object do not change its outline."""


Box = tuple[float, float, float, float]
Shape = Outline | Box
"""The mask of a piece; without masks, its box: x0, y0, x1, y1 in pixels of the image."""


@dataclass(frozen=True)
class Piece:
    """What one tile sees of an object."""

    tile: int
    label: int
    score: float
    shape: Shape
    cut: bool
    """Whether the object may continue outside of the tile."""

    @property
    def region(self) -> Region:
        """The smallest region of pixels that holds the piece."""
        return bounds(self.shape)


def bounds(shape: Shape) -> Region:
    """Return the smallest region of pixels that holds a mask or box."""
    if isinstance(shape, Outline):
        return shape.region
    x0, y0, x1, y1 = shape
    return slice(int(np.floor(y0)), int(np.ceil(y1))), slice(int(np.floor(x0)), int(np.ceil(x1)))


@dataclass
class Joiner:
    """Collect the pieces of all tiles of an image, and join them.

    Args:
        size: height and width of the image.
        near: distance in pixels of the image from the border of a tile within which a piece is cut off.
    """

    size: tuple[int, int]
    near: float = NEAR
    pieces: list[Piece] = field(default_factory=list)
    _tiles: list[Region] = field(default_factory=list)
    _recent: list[tuple[int, list[int]]] = field(default_factory=list)
    """Tiles, with their pieces, that a later tile may overlap."""
    _same: list[tuple[float, int, int]] = field(default_factory=list)
    """Intersection over union of pieces of two tiles, where it is more than `SAME`."""
    _inside: list[tuple[float, int, int]] = field(default_factory=list)
    """Share of the first piece that lies in the second, where it is more than `SAME`."""

    def add(
        self,
        tile: Region,
        labels: np.ndarray,
        scores: np.ndarray,
        shapes: Sequence[Shape],
    ) -> None:
        """Add the N pieces of a tile. Tiles come row by row from the top.

        Args:
            tile: rows and columns of the tile.
            labels: N classes.
            scores: N scores.
            shapes: N masks, or N boxes, in pixels of the image.
        """
        number = len(self._tiles)
        self._tiles.append(tile)
        own = range(len(self.pieces), len(self.pieces) + len(shapes))
        for label, score, shape in zip(labels, scores, shapes, strict=True):
            cut = self._is_cut(bounds(shape), tile)
            self.pieces.append(Piece(number, int(label), float(score), shape, cut))
        self._recent = [(t, p) for t, p in self._recent if self._tiles[t][0].stop > tile[0].start]
        for other, theirs in self._recent:
            if both := common(self._tiles[other], tile):
                self._compare(theirs, list(own), both)
        self._recent.append((number, list(own)))

    def _is_cut(self, region: Region, tile: Region) -> bool:
        return any(
            (border.start > 0 and part.start < border.start + self.near)
            or (border.stop < length and part.stop > border.stop - self.near)
            for part, border, length in zip(region, tile, self.size)
        )

    def _compare(self, earlier: list[int], later: list[int], both: Region) -> None:
        """Compare the pieces of two tiles in the region that both see."""
        seen = [
            [k for k in own if common(self.pieces[k].region, both) is not None] for own in (earlier, later)
        ]
        if not all(seen):
            return
        (a, area_a), (b, area_b) = (_parts([self.pieces[k] for k in own], both) for own in seen)
        overlap = np.asarray(coco.iou(a, b, [0] * len(b)))
        for i, j in zip(*np.nonzero(overlap)):
            p, q = seen[0][i], seen[1][j]
            if self.pieces[p].label != self.pieces[q].label:
                continue
            value = float(overlap[i, j])
            if value > SAME:
                self._same.append((value, p, q))
            shared = value * (area_a[i] + area_b[j]) / (1 + value)
            for part, whole, area in ((p, q, area_a[i]), (q, p, area_b[j])):
                if shared / area > SAME and (self.pieces[part].cut or value > SAME):
                    self._inside.append((shared / area, part, whole))

    def objects(self) -> list[list[int]]:
        """Return the pieces of each object, by the number of its first piece."""
        groups = {k: [k] for k in range(len(self.pieces))}
        of = list(range(len(self.pieces)))
        taken: set[int] = set()

        def join(p: int, q: int) -> None:
            first, second = sorted((of[p], of[q]))
            for k in groups.pop(second):
                groups[first].append(k)
                of[k] = first

        def tiles(p: int) -> set[int]:
            return {self.pieces[k].tile for k in groups[of[p]]}

        for _, p, q in sorted(self._same, key=lambda pair: (-pair[0], *pair[1:])):
            if of[p] != of[q] and not tiles(p) & tiles(q):
                join(p, q)
        held: dict[int, dict[int, float]] = {}  # by piece: the objects that hold it, and its share in them
        for share, part, whole in self._inside:
            if self.pieces[whole].tile not in tiles(part):
                by_object = held.setdefault(part, {})
                by_object[of[whole]] = max(share, by_object.get(of[whole], 0.0))
        absorbed = []
        for first, group in groups.items():
            others = set.intersection(*({*held.get(k, {})} for k in group)) - {first}
            absorbed += [(sum(held[k][o] for k in group) / len(group), first, o) for o in others]
        for _, first, other in sorted(absorbed, key=lambda pair: (-pair[0], *pair[1:])):
            if of[first] != of[other] and of[first] == first and first not in taken:
                taken.add(first)
                join(first, other)
        return [sorted(group) for group in groups.values()]

    def outline(self, group: list[int]) -> list[int]:
        """Return the pieces of an object whose union is its outline."""
        best = max(self.pieces[k].score for k in group)
        sure = [k for k in group if self.pieces[k].score >= SURE * best]
        rows, columns = hull([self.pieces[k].region for k in sure])
        for k in sorted(sure, key=lambda k: (-self.pieces[k].score, k)):
            y, x = self._tiles[self.pieces[k].tile]
            holds = y.start <= rows.start and y.stop >= rows.stop
            if holds and x.start <= columns.start and x.stop >= columns.stop and not self.pieces[k].cut:
                return [k]
        return sure


def _parts(pieces: list[Piece], region: Region) -> tuple[list, np.ndarray]:
    """Return the parts of pieces in a region, as pycocotools compares them, and their areas."""
    masks = [seen_in(p.shape, region) for p in pieces if isinstance(p.shape, Outline)]
    if masks:
        return masks, areas(masks)
    rows, columns = region
    boxes = []
    for x0, y0, x1, y1 in (p.shape for p in pieces if not isinstance(p.shape, Outline)):
        left, top = max(x0, columns.start), max(y0, rows.start)
        boxes.append([left, top, max(0, min(x1, columns.stop) - left), max(0, min(y1, rows.stop) - top)])
    return boxes, np.array([w * h for *_, w, h in boxes])
