"""Volumes in NIfTI files or DICOM series: their slices become images, with one channel for each modality."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from segbench.contract.view import Category
from segbench.data.cases import Slice
from segbench.data.converters.common import categories, parse_options, require
from segbench.data.converters.dicom import read_dicom
from segbench.data.converters.folder import evaluation_split
from segbench.data.converters.nifti import SUFFIXES, read_nifti
from segbench.data.converters.patterns import Files, Pattern, files_below
from segbench.data.converters.splits import SPLITS, Place, SplitOptions, divided
from segbench.data.converters.volume import (
    Volume,
    canonical,
    difference,
    finite,
    resampled,
    slice_axes,
    sliced,
)
from segbench.data.dataset import Archives, Converted, Sample
from segbench.errors import SegbenchError, nearest

NEEDS = {"nibabel": "volumes", "pydicom": "volumes"}
"""Packages, and the extra that installs them. The configuration is checked for them."""
LABEL = "label"


class Options(SplitOptions):
    folder: Path | None = None
    """The folder with the volumes. null: the entry's one archive."""
    channels: Annotated[dict[str, str], Field(min_length=1)]
    """By modality, in the order of the channels: the pattern of its files, or of folders with one DICOM
    series each, such as `{CT: "TRAINING/{case}/*.CT.*/*.nii"}`. `*` is any part of a name, `**/` any folders
    or none, `{case}` the name of the case, and `{split}` that of a split's folder."""
    label: str
    """The pattern of the volumes with the truth."""
    classes: Annotated[dict[int, str], Field(min_length=1)]
    """Class by value of the label, such as `{1: lesion}`. 0 is the background. Values with one name are one
    class."""
    void: list[int] = []
    """Values of the label that are not scored."""
    axis: Literal["axial", "coronal", "sagittal"] = "axial"
    """Along which axis of the patient the slices are, however the file stores them."""
    neighbours: Annotated[int, Field(ge=0, le=16)] = 0
    """Number of slices on each side that become further channels. Beyond the first and the last slice, these
    repeat."""
    empty: Literal["keep", "skip"] = "keep"
    """Training slices without foreground are kept, or skipped. Slices of other splits are always kept."""
    resample: bool = False
    """Whether modalities on another grid are resampled to that of the label. false: they are errors."""
    compare_affines: bool = True
    """false: modalities and label of equal shape belong together, whatever their headers say about their
    places."""
    splits: dict[str, Literal["train", "val", "test"]] = {}
    """With `{split}`: the split of each folder, such as `{TRAINING: train, TESTING: test}`. Folders with the
    names train, val and test need none."""
    exclude: list[str] = []
    """Patterns of the names of cases to exclude."""
    max_voxels: PositiveInt = 500_000_000
    """Largest number of voxels of a volume. A small file may claim to be large."""

    @model_validator(mode="after")
    def _consistent(self) -> Options:
        if LABEL in self.channels:
            raise ValueError(f"'{LABEL}' is not a name for a channel")
        if 0 in self.classes or 0 in self.void:
            raise ValueError("0 is the background; `classes` and `void` have the other values")
        if both := set(self.classes) & set(self.void):
            raise ValueError(f"{min(both)} is in `classes` and in `void`")
        if len({"split" in pattern.fields for pattern in self.patterns.values()}) > 1:
            raise ValueError("{split} must be in the patterns of all channels and the label, or in none")
        return self

    @property
    def patterns(self) -> dict[str, Pattern]:
        """The patterns of the channels and the label, by role."""
        texts = {f"channels.{name}": text for name, text in self.channels.items()} | {LABEL: self.label}
        return {
            role.removeprefix("channels."): Pattern(text, f"options.{role}", ("case", "split"))
            for role, text in texts.items()
        }


def convert(archives: Archives, options: dict[str, Any]) -> Converted:
    """Convert the volumes. Options: see `Options`."""
    chosen = parse_options(Options, options)
    cases = _cases(_root(archives, chosen), chosen)
    places = _places(cases, chosen)
    return Converted(
        categories=_categories(chosen),
        background=True,
        evaluation_split=evaluation_split([place.split for place in places]),
        orientation="stored",
        division="given" if "{split}" in chosen.label else "own",
        samples=_samples(cases, places, chosen),
    )


def _root(archives: Archives, options: Options) -> Path:
    roots = [options.folder.expanduser()] if options.folder else list(archives.values())
    if len(roots) != 1 or not require(roots[0], "check `folder` in the dataset's options").is_dir():
        raise SegbenchError(
            f"there are {len(roots)} archives, or one is not a folder",
            where="options.folder",
            remedy="give one folder or one archive",
        )
    return roots[0]


def _categories(options: Options) -> list[Category]:
    return categories(dict.fromkeys(options.classes.values()), isthing=False)


@dataclass
class _Found:
    """The files, or folders of files, of one case."""

    case: str
    folder: str
    """Name of the split's folder; empty if the patterns have no {split}."""
    paths: dict[str, list[Path]] = field(default_factory=dict)
    """By modality or label: all that match its pattern."""


def _cases(root: Path, options: Options) -> list[_Found]:
    """Return the cases for which any pattern matches, sorted by folder and name."""
    patterns = options.patterns
    cases: dict[tuple[str, str], _Found] = {}
    for name, path in _files_and_folders(root).items():
        for role, pattern in patterns.items():
            if fields := next(pattern.matches(name), None):
                key = fields.get("split", ""), fields["case"]
                found = cases.setdefault(key, _Found(key[1], key[0]))
                found.paths.setdefault(role, []).append(path)
    kept = [c for _, c in sorted(cases.items()) if not any(fnmatch(c.case, p) for p in options.exclude)]
    if not kept:
        shown = ", ".join(repr(pattern.text) for pattern in patterns.values())
        raise SegbenchError(
            f"no file matches the patterns {shown}" if not cases else "all cases are excluded",
            where=root,
            remedy="write `channels` and `label` as the files are named",
        )
    return kept


def _files_and_folders(root: Path) -> Files:
    files = files_below({"": root})
    folders = {posixpath.dirname(name): path.parent for name, path in files.items() if "/" in name}
    return {**folders, **files}


def _places(cases: list[_Found], options: Options) -> list[Place]:
    """Return split and group of each case. SegbenchError if folders are not splits."""
    known = {"": "", **{s: s for s in SPLITS}, **options.splits}
    if wrong := sorted({c.folder for c in cases} - set(known)):
        hint = nearest(wrong[0].lower(), known)
        raise SegbenchError(
            f"the folders {', '.join(wrong)} are not splits",
            where="options.splits",
            remedy=f"write `splits: {{{wrong[0]}: {hint or 'train'}}}`, or a pattern without them",
        )
    return divided([c.case for c in cases], options, [known[c.folder] for c in cases])


def _samples(cases: list[_Found], places: list[Place], options: Options) -> Iterator[Sample]:
    table = _LabelTable(options)
    for found, (split, group) in zip(cases, places):
        try:
            case = _read(found, table, options)
        except _Faults as error:
            yield Sample(split, found.case, b"", group=found.case, faults=error.faults)
            continue
        yield from _slices(case, found.case, split, group or found.case, options)


class _Faults(Exception):
    """The errors of one case."""

    def __init__(self, *faults: SegbenchError) -> None:
        self.faults = list(faults)


@dataclass
class _Case:
    """The volumes of one case on one RAS+ grid; the label as category ids (-1 = void)."""

    modalities: list[Volume]
    label: Volume


class _LabelTable:
    """Converts values of labels to category ids."""

    def __init__(self, options: Options) -> None:
        numbers = {c.name: c.id for c in _categories(options)}
        self.ids = {0: 0} | {v: numbers[name] for v, name in options.classes.items()}
        self.ids |= dict.fromkeys(options.void, -1)

    def convert(self, label: Volume) -> Volume:
        """Return the label with category ids. SegbenchError for a value that is not known."""
        counts: Counter[float] = Counter()
        for plane in np.moveaxis(label.data, -1, 0):  # few voxels at a time: `unique` needs much memory
            values, numbers = np.unique(plane, return_counts=True)
            counts.update(dict(zip(values.tolist(), numbers.tolist())))
        if unknown := sorted((v, n) for v, n in counts.items() if v not in self.ids):
            shown = ", ".join(f"{v:g} ({n} voxels)" for v, n in unknown[:5])
            raise SegbenchError(
                f"has values that are no class: {shown}"
                + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""),
                where=label.where,
                remedy="name them in `classes`, or list them in `void`",
            )
        ids = np.zeros(label.data.shape, np.int32)
        for value in counts:
            if value:
                ids[label.data == value] = self.ids[int(value)]
        return Volume(ids, label.affine, label.where)


def _read(found: _Found, table: _LabelTable, options: Options) -> _Case:
    """Read and check the volumes of a case. Raises `_Faults` with all its errors."""
    faults: list[SegbenchError] = []
    volumes: dict[str, Volume] = {}
    for role, pattern in {**options.channels, LABEL: options.label}.items():
        try:
            volume = _volume(_one_path(found, role, pattern), options)
            volumes[role] = volume if role == LABEL else finite(volume)
        except SegbenchError as error:
            faults.append(error)
    label = volumes.pop(LABEL, None)
    if label is None:
        raise _Faults(*faults)
    modalities = []
    for volume in volumes.values():
        try:
            modalities.append(_on_grid(volume, label, options))
        except SegbenchError as error:
            faults.append(error)
    try:
        label = table.convert(label)
    except SegbenchError as error:
        faults.append(error)
    if faults:
        raise _Faults(*faults)
    return _Case(modalities, label)


def _one_path(found: _Found, role: str, pattern: str) -> Path:
    paths = found.paths.get(role, [])
    where = f"case {found.folder + '/' if found.folder else ''}{found.case}"
    if not paths:
        raise SegbenchError(
            f"has no {role}: nothing matches {pattern!r}",
            where=where,
            remedy="add the file, fix the pattern, or exclude the case (`exclude`)",
        )
    if len(paths) > 1:
        shown = ", ".join(p.name for p in paths[:3]) + (", ..." if len(paths) > 3 else "")
        series = all(p.suffix.lower() in (".dcm", ".ima", "") for p in paths)
        raise SegbenchError(
            f"has {len(paths)} files for {role} ({shown})",
            where=where,
            remedy="write a pattern that matches the folder of the series"
            if series
            else "write a pattern that matches one of them",
        )
    return paths[0]


def _volume(path: Path, options: Options) -> Volume:
    if path.is_dir():
        volume = read_dicom(path, options.max_voxels)
    elif path.name.lower().endswith(SUFFIXES):
        volume = read_nifti(path, options.max_voxels)
    else:
        raise SegbenchError(
            "is neither a NIfTI file (.nii, .nii.gz) nor a folder with a DICOM series",
            where=path,
            remedy="convert it to NIfTI, or fix the pattern",
        )
    return canonical(volume) if options.compare_affines else volume


def _on_grid(volume: Volume, label: Volume, options: Options) -> Volume:
    """Return the volume on the label's grid. SegbenchError if it has another one that is not resampled."""
    if not options.compare_affines and volume.data.shape == label.data.shape:
        return Volume(volume.data, label.affine, volume.where)
    differs = difference(volume, label)
    if differs is None:
        return volume
    if options.resample and options.compare_affines:
        return resampled(volume, label)
    raise SegbenchError(
        differs,
        where=volume.where,
        remedy="set `resample: true`, or fix the file; if only its header is wrong, set "
        "`compare_affines: false`",
    )


def _slices(case: _Case, name: str, split: str, group: str, options: Options) -> Iterator[Sample]:
    """Yield the slices as images; see `segbench.data.converters.volume.sliced`."""
    volumes = [canonical(volume) for volume in (*case.modalities, case.label)]
    *modalities, label = (sliced(volume, options.axis) for volume in volumes)
    between, down, across = (float(volumes[-1].spacing[a]) for a in slice_axes(options.axis))
    kind = np.result_type(*modalities)
    kind = kind if kind in (np.int16, np.uint16) else np.dtype(np.float32)
    count, digits = len(label), max(3, len(str(len(label) - 1)))
    for index, ids in enumerate(label):
        if options.empty == "skip" and split == "train" and not ids.any():
            continue
        near = np.clip(np.arange(-options.neighbours, options.neighbours + 1) + index, 0, count - 1)
        image = np.stack([data[k] for k in near for data in modalities], axis=-1).astype(kind)
        yield Sample(
            split,
            f"{name}_{index:0{digits}d}",
            image,
            semantic=ids,
            group=group,
            slice=Slice(case=name, index=index, slices=count, spacing=(between, down, across)),
            source=case.label.where,
        )
