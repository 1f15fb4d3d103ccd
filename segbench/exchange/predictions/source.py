"""What the readers of all formats share: the split that was predicted, and its classes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from segbench.contract.external import ExternalSpec
from segbench.contract.view import Category, View
from segbench.data.coco import checks
from segbench.data.dataset import Split
from segbench.errors import SegbenchError, nearest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Predictions of another program on a split."""

    spec: ExternalSpec
    split: Split

    @cached_property
    def view(self) -> View:
        """Classes of the predictions. A semantic view ends with a class for void, which means: no class."""
        info = self.split.dataset.info
        view = self.split.dataset.view(self.spec.task)
        if self.spec.task != "semantic" or info.overlapping:
            return view
        none = Category(id=info.void, name="", isthing=False, color=(0, 0, 0))
        return replace(view, classes=(*view.classes, none))

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Index in the view by name of a class."""
        return {c.name: i for i, c in enumerate(self.view.classes) if c.name}

    def indices(self, named: dict[int, str | None], where: Path | str) -> dict[int, int | None]:
        """Return the index of the class of each value; None for no class.

        Raises:
            SegbenchError: the dataset lacks some of the classes; all are listed.
        """
        background = "background" not in self.index_of  # then it is no class
        known = {**self.index_of, **({"background": None} if background else {})}
        unknown = [name for name in named.values() if name is not None and name not in known]
        if unknown:
            hint = nearest(unknown[0], self.index_of)
            raise SegbenchError(
                f"names classes that {self.split.dataset.info.name} does not have: {', '.join(unknown)} "
                f"(it has: {', '.join(self.index_of)})",
                where=where,
                remedy=(f"did you mean '{hint}'? " if hint else "")
                + "Say in `external.classes` what the values mean; null is no class",
            )
        return {value: None if name is None else known[name] for value, name in named.items()}

    def expected(self, found: Collection[str], where: Path, images: Iterable[str] | None = None) -> None:
        """Check that there are predictions of the images of the split, and of no others.

        Args:
            found: names of the images that are predicted.
            where: place of the predictions, for the message.
            images: names to expect; None: those of the images, without ending.

        Raises:
            SegbenchError: an image is missing or unknown.
        """
        names = dict.fromkeys(images if images is not None else (record.stem for record in self.split))
        unknown = [name for name in found if name not in names]
        missing = [name for name in names if name not in found]
        if len(missing) == len(names):
            unknown_too = f", but of {unknown[0]}{checks.more(unknown)}" if unknown else ""
            raise SegbenchError(
                f"has no prediction of the images of {self._split_name}, such as {missing[0]}{unknown_too}",
                where=where,
                remedy="name predictions like their images, and score them on the split they were made for",
            )
        if unknown and not self.spec.some:
            raise SegbenchError(
                f"image {unknown[0]} is not in {self._split_name}{checks.more(unknown)}",
                where=where,
                remedy="score predictions on the split that they were made for",
            )
        if missing and self.spec.missing == "error":
            raise SegbenchError(
                f"has nothing for image {missing[0]}{checks.more(missing)}",
                where=where,
                remedy="predict every image, or count them as empty with `missing: empty` in the entry",
            )
        if missing:
            log.warning(
                "%s: no prediction for image %s%s; it is empty", where, missing[0], checks.more(missing)
            )

    @property
    def _split_name(self) -> str:
        return f"the split {self.split.name} of {self.split.dataset.info.name}"
