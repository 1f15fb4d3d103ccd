"""Find the converter and its options for a folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from segbench.adopt.annotations import json_files, xml_files, yolo
from segbench.adopt.contents import Contents, looks_like_masks, read_contents
from segbench.adopt.layouts import Layout, layouts
from segbench.adopt.matlab import mask_variables
from segbench.adopt.meaning import meaning_of
from segbench.adopt.proposal import Proposal
from segbench.data.converters.patterns import Matches, Pattern, files_below, matched, require_matches
from segbench.data.images import IMAGE_SUFFIXES
from segbench.errors import SegbenchError

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
_VOLUMES = (".nii", ".nii.gz", ".dcm", ".mha", ".nrrd")
_GLANCE = 12
"""Number of masks that are read to compare layouts."""


def propose(root: Path, given: Mapping[str, Any] | None = None) -> Proposal:
    """Find the converter and its options.

    Args:
        root: the folder, without outer folders that contain only another folder.
        given: options that the user has given. They are part of the result.

    Raises:
        SegbenchError: nothing fits. It lists the types of files, and says what is missing.
    """
    files = files_below({"": root})
    if not files:
        raise SegbenchError("is empty", where=root, remedy="name the folder with your images")
    given = dict(given or {})
    if given.keys() & {"image", "mask", "splits"}:
        return _given_pairs(files, root, given)
    found: list[Proposal] = []
    if (by_text := yolo(files)) is not None:
        found.append(by_text)
    found += json_files(files, root, given)
    if found:
        first = found[0]
        first.seen += [f"also: {other.seen[0]}" for other in found[1:]]
        named = [layout for layout in layouts(list(files))[:1] if layout.masks.says_mask]
        first.seen += [f"also files named as masks, such as {layout.masks.place}" for layout in named]
        first.otherwise += [f"those masks: {_as_text(layout.options())}" for layout in named]
        first.options |= given
        return first
    return _pairs(files, root, given)


def _given_pairs(files: Mapping[str, Path], root: Path, given: dict[str, Any]) -> Proposal:
    """Return the proposal for patterns of the user; a single one completes what the names of files say."""
    if "splits" not in given and not {"image", "mask"} <= given.keys():
        found = layouts(list(files))
        options = found[0].options() if found else {}
        if "image" not in options:
            raise SegbenchError(
                "one pattern is given, and the other is not clear",
                where=root,
                remedy="give both, --set 'image=...' and --set 'mask=...'; or splits",
            )
        given = options | given
    pairs = [pair for matches in _matches(files, given) for pair in matches.pairs]
    masks = [path for pair in pairs for path, _ in pair.masks]
    proposal = Proposal(
        "pairs",
        dict(given),
        [f"{len(pairs)} images with masks of the given patterns"],
        images=[pair.image for pair in pairs],
        names=[pair.name for pair in pairs],
    )
    classes = sorted({text for pair in pairs for _, text in pair.masks if text})
    return _with_meaning(proposal, masks, files, classes, len(masks) / len(pairs), given)


def _matches(files: Mapping[str, Path], options: Mapping[str, Any]) -> list[Matches]:
    """Return the pairs of each split, as the converter finds them by its options."""
    found = []
    for split, both in (options.get("splits") or {"": options}).items():
        compiled = []
        for kind in ("image", "mask"):
            if not isinstance(both, dict) or not both.get(kind):
                raise SegbenchError(
                    f"has no pattern `{kind}`", where=f"options.splits.{split}", remedy="give image and mask"
                )
            texts = both[kind] if isinstance(both[kind], list) else [both[kind]]
            compiled.append([Pattern(str(text), f"options.{kind}") for text in texts])
        require_matches(files, [(compiled[0], compiled[1])])
        found.append(matched(files, compiled[0], compiled[1]))
    return found


def _with_meaning(
    proposal: Proposal,
    masks: Sequence[Path],
    files: Mapping[str, Path],
    classes: list[str],
    per_image: float,
    given: dict[str, Any],
) -> Proposal:
    """Add what the masks mean, if the user has not given it."""
    if given.keys() & {"classes", "labelmap", "objects"}:
        proposal.options |= given
        return proposal
    if (key := _variable(masks, given)) is not None:
        proposal.options["key"] = key
        proposal.seen.append(f"variables with maps in {masks[0].name}: {', '.join(mask_variables(masks[0]))}")
        proposal.taken.append(f"the variable {key} is the mask")
    contents = read_contents(masks, key)
    if not contents.masks:
        raise SegbenchError(
            f"no mask can be read; first: {contents.unread[0]}",
            remedy="fix the masks; of several variables in .mat files, name one: --set key=NAME",
        )
    meaning = meaning_of(contents, files, classes, per_image)
    proposal.options |= meaning.options | given
    if isinstance(given.get("void"), list) and isinstance(known := proposal.options.get("classes"), dict):
        void = set(map(str, given["void"]))
        proposal.options["classes"] = {k: name for k, name in known.items() if str(k) not in void}
    proposal.seen += meaning.seen
    proposal.taken += meaning.taken
    proposal.otherwise += meaning.otherwise
    return proposal


def _pairs(files: Mapping[str, Path], root: Path, given: dict[str, Any]) -> Proposal:
    judged: list[tuple[float, Layout, Contents]] = []
    for layout in layouts(list(files)):
        key = _variable(_masks(layout, files), given)
        contents = read_contents(_masks(layout, files), key, _GLANCE)
        judged.append((layout.score * looks_like_masks(contents), layout, contents))
    judged.sort(key=lambda item: -item[0])
    if not judged:
        if (boxes := xml_files(files)) is not None:
            boxes.options |= given
            return boxes
        raise _nothing(files, root)
    best, layout, glance = judged[0]
    if best < 0.2 * layout.score or not glance.masks:
        raise _not_masks(layout, glance, root)
    pairs = layout.pairs
    example = next(iter(pairs))
    proposal = Proposal(
        "pairs",
        layout.options(),
        [f"{len(pairs)} images with masks, such as {example} with {pairs[example][0]}"],
        _taken(layout),
        ['other files: image: "images/{name}.jpg"; mask: "masks/{name}.png"'],
        images=[files[path] for path in pairs],
        names=[name for part in layout.parts for name in part.names],
    )
    proposal = _with_meaning(proposal, _masks(layout, files), files, layout.classes, layout.per_image, given)
    matches = _matches(files, layout.options())  # patterns may match more images than the layout has
    paired = {pair.image for match in matches for pair in match.pairs}
    lacking = {path for match in matches for path in match.unannotated.values()} - paired
    if lacking and "unannotated" not in given:
        proposal.options["unannotated"] = "skip"
        proposal.taken.append(
            f"{len(lacking)} images without a mask are skipped, such as {min(lacking).name}"
        )
        proposal.otherwise.append("images without a mask are background: unannotated: empty")
    for value, other, _ in judged[1:]:
        if value > 0.1 * best:
            proposal.seen.append(f"also possible as masks: {len(other.pairs)} such as {other.masks.place}")
            proposal.otherwise.append(f"those masks: {_as_text(other.options())}")
    used = set(pairs) | {path for masks in pairs.values() for path in masks}
    other_images = [p for p in files if p not in used and PurePosixPath(p).suffix.lower() in IMAGE_SUFFIXES]
    if other_images:
        proposal.seen.append(f"{len(other_images)} other images, not used, such as {other_images[0]}")
    lists = [p for p in files if PurePosixPath(p).name in ("train.txt", "val.txt", "test.txt")]
    if lists and "splits" not in proposal.options:
        proposal.seen.append(f"lists of a split, which are not read: {', '.join(lists)}")
    return proposal


def _variable(masks: Sequence[Path], given: Mapping[str, Any]) -> str | None:
    """Return the variable to read in MATLAB files; None for other files."""
    if masks[0].suffix.lower() != ".mat":
        return None
    return given.get("key") or next(iter(mask_variables(masks[0])), None)


def _as_text(options: Mapping[str, Any]) -> str:
    return "; ".join(f"{key}: {json.dumps(value)}" for key, value in options.items())


def _masks(layout: Layout, files: Mapping[str, Path]) -> list[Path]:
    return [files[path] for masks in layout.pairs.values() for path in masks]


def _taken(layout: Layout) -> list[str]:
    splits = [part.split for part in layout.parts]
    if splits == [""]:
        return ["the names of folders tell no splits apart; a quarter of the images is for the test"]
    counts = ", ".join(f"{part.split} ({len(part.pairs)})" for part in layout.parts)
    return [f"the folders name the splits: {counts}"]


def _not_masks(layout: Layout, contents: Contents, root: Path) -> SegbenchError:
    if contents.unread and not contents.masks:
        what, remedy = f"no mask can be read; first: {contents.unread[0]}", "fix the masks"
    elif contents.same:
        what = f"the files such as {layout.masks.place} are nearly equal for all images, so they are no masks"
        remedy = "add the masks; if these are the masks, say so with --set mask=..."
    else:
        what = (
            f"the files such as {layout.masks.place} have the names of masks, but up to "
            f"{max(map(len, contents.sets), default=0)} values each, as photographs"
        )
        remedy = (
            "save masks with a value for each class, as PNG; if they are masks, say what the values mean: "
            "--set mask=... --set 'classes={0: background, 255: NAME}'"
        )
    return SegbenchError(what, where=root, remedy=remedy)


def _nothing(files: Mapping[str, Path], root: Path) -> SegbenchError:
    """Return the error if no converter fits: what there is, and what is missing."""
    kinds = Counter(PurePosixPath(path).suffix.lower() or "(no suffix)" for path in files)
    shown = ", ".join(f"{count} {suffix}" for suffix, count in kinds.most_common(8))
    examples = ", ".join(_examples(files))
    images = sum(count for suffix, count in kinds.items() if suffix in IMAGE_SUFFIXES)
    lower = [path.lower() for path in files]
    if any(path.endswith(_VOLUMES) for path in lower):
        missing = "these are volumes, whose masks cannot be recognised by their names"
        remedy = "write an entry with the converter for volumes; see docs/own_data.md"
    elif not images and any(path.endswith(_ARCHIVES) for path in lower):
        missing, remedy = "there are only archives", "extract them, and name the folder with the images"
    elif not images:
        missing, remedy = "there are no images", f"known images: {', '.join(sorted(IMAGE_SUFFIXES))}"
    elif kinds.get(".json"):
        missing = "there are no masks, and the JSON files are not those of COCO, VIA or labelme"
        remedy = "export the annotation as COCO or masks; docs/own_data.md says how to read another format"
    elif stacks := [path for path in files if _is_stack(files[path])]:
        missing = f"there are no masks by name, and {stacks[0]} has several pages"
        remedy = "save each page as a file, such as images/001.png with masks/001.png"
    else:
        missing = "there are images, but no masks or annotation files that belong to them by name"
        remedy = (
            "name the masks as the images, such as images/7.jpg with masks/7.png, or 7.jpg with 7_mask.png; "
            "or say how they are named: --set image=images/{name}.jpg --set mask=truth/{name}_t.png "
            "--set 'classes={0: background, 255: NAME}'"
        )
    return SegbenchError(f"{missing}\n  files: {shown}\n  such as: {examples}", where=root, remedy=remedy)


def _is_stack(path: Path) -> bool:
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except (OSError, ValueError, SyntaxError):
        return False


def _examples(files: Mapping[str, Path]) -> Sequence[str]:
    by_folder: dict[str, str] = {}
    for path in files:
        by_folder.setdefault(str(PurePosixPath(path).parent) + PurePosixPath(path).suffix, path)
    return list(by_folder.values())[:6]
