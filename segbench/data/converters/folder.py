"""A user's own annotated folder: where it is, and how it is divided into splits."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from segbench.data.converters.common import hashed_test, require
from segbench.data.dataset import Archives
from segbench.errors import SegbenchError, nearest

SPLITS = ("train", "val", "test")


class FolderOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    folder: Path | None = None
    """The folder with the images and annotations. null: the entry's one archive."""
    labels: list[str] | None = None
    """The classes, in order. null: all labels that are found, sorted."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Fraction of the images to test on, chosen by a hash of their names."""
    test: list[str] = []
    """Patterns of the names to test on, such as `video3*`, instead of a fraction: for images that are alike.
    """


def root_of(archives: Archives, options: FolderOptions) -> Path:
    """The folder itself, below folders that only wrap it."""
    roots = [options.folder] if options.folder else list(archives.values())
    if len(roots) != 1:
        raise SegbenchError(
            f"{len(roots)} archives to read", where="options.folder", remedy="name one folder, or one archive"
        )
    root = require(roots[0], "check `folder` in the dataset's options")
    if not root.is_dir():
        raise SegbenchError("is no folder", where=root, remedy="check `folder` in the dataset's options")
    while True:
        inner = [p for p in root.iterdir() if not p.name.startswith((".", "__MACOSX"))]
        if len(inner) != 1 or not inner[0].is_dir() or inner[0].name in SPLITS:
            return root
        root = inner[0]


def split_folders(root: Path) -> dict[str, Path]:
    """The subfolders train, val, test where there are any; else "" -> `root`, for `divided` to split."""
    return {s: root / s for s in SPLITS if (root / s).is_dir()} or {"": root}


def evaluation_split(splits: Sequence[str]) -> str:
    return "test" if "test" in splits else "val"


def divided(names: Sequence[str], options: FolderOptions) -> dict[str, str]:
    """The split of each name, where folders do not say it."""
    if options.test:
        test = {n for n in names if any(fnmatch(n, pattern) for pattern in options.test)}
    else:
        test = hashed_test(names, options.test_fraction)
    return {name: "test" if name in test else "train" for name in names}


def name_another(label: str, labels: Sequence[str], kind: str) -> str:
    """What to do about a `kind` of annotation whose label is not in the class list."""
    hint = nearest(label, labels)
    return f"did you mean '{hint}'?" if hint else f"add it to `labels`, or rename the {kind}"
