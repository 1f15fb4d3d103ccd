"""What the values of label maps from other programs mean: classes, void, foreground or background."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segbench.contract.view import void_value
from segbench.errors import SegbenchError
from segbench.evaluation.semantic.confusion import ClassIndex
from segbench.evaluation.semantic.maps import read_labels, read_values

TOP = 65535
BINARY = ("background", "foreground")
REMEDY = "for masks of 0 and another value give --binary, or say which class a value is, such as --map 255=1"
_BINARY_VOID = 2
"""Value of void pixels in the binary maps that `Values.read` returns."""


@dataclass(frozen=True)
class Values:
    """How the values of label maps become classes. By default the value is the number of the class.

    Raises:
        SegbenchError: the options contradict each other or are out of range.
    """

    names: Sequence[str]
    """Names of the classes; the position is the number of the class."""
    ignore: int | None = None
    """Value of void pixels in the truth, which is not a class; in predictions it marks unlabelled pixels.

    -1: there are none. None: 255, or 65535 with more than 255 classes, unless `mapped` or `binary` give that
    value a meaning.
    """
    mapped: Mapping[int, int] = field(default_factory=dict)
    """Value -> other value that it means, in truth and predictions."""
    binary: bool = False
    """Whether every value above `threshold` is class 1, and all others are class 0."""
    threshold: float | None = None
    """None: 0, and maps may hold two values only."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not self.binary:
            raise SegbenchError("needs --binary", where="--threshold", remedy="give both")
        if self.binary and (self.mapped or len(self.names) != 2):
            raise SegbenchError(
                "needs two classes, and no --map", where="--binary", remedy="remove --classes and --map"
            )
        if self.ignore is not None and not -1 <= self.ignore <= TOP:
            raise SegbenchError(
                f"{self.ignore} is not a value of a label map", where="--ignore", remedy=f"-1 to {TOP}"
            )
        known = {*self.ids, self.void}
        for value, meaning in self.mapped.items():
            if meaning not in known:
                raise SegbenchError(
                    f"{value}={meaning}: {meaning} is neither a class nor void",
                    where="--map",
                    remedy=f"classes are 0 to {len(self.names) - 1}",
                )

    @property
    def void(self) -> int | None:
        """Value of void pixels in the truth; None if there are none."""
        if self.ignore is not None:
            return self.ignore if self.ignore >= 0 else None
        top = void_value(len(self.names) - 1)
        return None if self.binary or top in self.mapped or top < len(self.names) else top

    @property
    def ids(self) -> list[int]:
        """Values that are classes. Void is excluded, and the others keep their numbers, as for ADE20K's 0."""
        return [i for i in range(len(self.names)) if self.binary or i != self.void]

    @property
    def index(self) -> ClassIndex:
        """Conversion of the maps that `read` returns to class indices."""
        void = _BINARY_VOID if self.binary and self.void is not None else self.void
        return ClassIndex(self.ids, void, self.mapped, f"; {REMEDY}")

    def read(self, path: Path, shape: tuple[int, ...] | None = None, *, truth: bool = False) -> np.ndarray:
        """Read an H x W label map for `index`. `truth` says whether void is expected.

        Raises:
            SegbenchError: the file cannot be read, or `binary` needs a threshold for its values.
        """
        if not self.binary:
            return read_labels(path, shape)
        values = read_values(path, shape)
        void = (values == self.void) & truth if self.void is not None else np.zeros(values.shape, bool)
        if self.threshold is None:
            different = np.unique(values[~void])
            if len(different) > 2 or (len(different) == 2 and different[0] != 0):
                raise SegbenchError(
                    f"holds {len(different)} different values, {different[0]:g} to {different[-1]:g}",
                    where=path,
                    remedy="give --threshold, such as 127 for a grey JPEG, .5 for probabilities, 0 for ids "
                    "of objects; values above it are class 1",
                )
        return np.where(void, _BINARY_VOID, values > (self.threshold or 0)).astype(np.uint8)


def parse_map(texts: Sequence[str]) -> dict[int, int]:
    """Parse values of the option --map: ["255=1"] -> {255: 1}.

    Raises:
        SegbenchError: a text is malformed, or one value is mapped to two others.
    """
    found: dict[int, int] = {}
    for text in texts:
        match = re.fullmatch(r"([0-9]{1,5})=([0-9]{1,5})", text)
        value, meaning = map(int, match.groups()) if match else (TOP + 1, 0)
        if value > TOP or found.setdefault(value, meaning) != meaning:
            raise SegbenchError(
                f"'{text}' is not FROM=TO, or another one maps the same value",
                where="--map",
                remedy="for example --map 255=1",
            )
    return found


def class_names(classes: str) -> list[str]:
    """Return the class names of the option --classes: a number of classes, or a file with one name a line.

    Raises:
        SegbenchError: the file cannot be read, or names are missing or repeated.
    """
    if classes.isdecimal() and classes.isascii() and 0 < int(classes[:6]) <= TOP and len(classes) < 6:
        return [str(i) for i in range(int(classes))]
    try:
        names = [line.strip() for line in Path(classes).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise SegbenchError(
            f"'{classes}' is neither a number nor a readable file ({error})",
            where="--classes",
            remedy=f"give the number of classes, up to {TOP}, or a file with one name a line",
        ) from error
    names = [name for name in names if name]
    if not names or len(set(names)) < len(names):
        raise SegbenchError("needs one name a line, each once", where=classes, remedy="correct the list")
    return names
