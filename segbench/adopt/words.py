"""Words in the names of files and folders that tell images, masks and splits apart."""

from __future__ import annotations

import re


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


MASK = _set(
    "mask masks label labels lbl lbls annot annots annotation annotations seg segs segm segmentation "
    "segmentations segmented gt gts groundtruth truth manual target targets outlines cls inst semantic "
    "instance instances"
)
SIDES = _set("left right")
"""Words of folders with masks whose parts belong to one image."""
IMAGE = _set(
    "image images img imgs photo photos picture pictures rgb original originals raw input inputs scan scans "
    "frame frames slice slices source cxr xray"
)
OTHER = _set(
    "vis viz visual visualization visualisation overlay overlays preview previews thumbnail thumbnails "
    "depth edge edges boundary boundaries skeleton fov roi pred preds prediction predictions color colors "
    "colour colours object instance instances confidence"
)
"""Words of files that are neither images nor the best truth, such as drawings of it."""
_ROLES = "annot|mask|image|img|label|seg|gt|photo"
_SPLIT = re.compile(
    rf"(?<![a-zA-Z])(?i:(train|val|test)(?:ing|idation|id)?)(?:(?=$|[^a-zA-Z]|[A-Z])|(?=(?i:{_ROLES})))"
    r"|(?<=[a-z])(Train|Val|Test|Tr|Ts)(?:ing|idation|id)?(?=$|[^a-zA-Z])"
    r"|(?<=[-_])(TR|TE|TS)(?=$|[-_])"
)
_SHORT = {"tr": "train", "ts": "test", "te": "test"}
_AFTER = re.compile(
    r"^(?P<core>.+?)(?P<affix>[_\-. ]+(?:cp_)?(?i:mask|label|lbl|seg|segm|segmentation|gt|annotation|annot|"
    r"ground_?truth|truth|target|manual|labelids|instanceids|color|overlay|pred|prediction)s?)"
    r"(?P<number>(?:[_\-. (]*\d+\)?)?)$"
)
_BEFORE = re.compile(
    r"^(?P<affix>(?i:mask|label|lbl|seg|segmentation|gt|annotation|target)s?[_\-. ])(?P<core>.+)$"
)


def words(text: str) -> set[str]:
    """Return the words of a name in lower case: `PedMasks_2` -> ped, masks, 2."""
    return {w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", text)}


def split_in(folder: str) -> tuple[str, str]:
    """Return the split that the name of a folder contains, or "", and the rest of the name.

    `trainannot` -> train, annot; `images_val2017` -> val, images_2017.
    """
    found = _SPLIT.search(folder)
    if found is None:
        return "", folder
    word = (found[1] or found[2] or found[3]).lower()
    return _SHORT.get(word, word), folder[: found.start()] + folder[found.end() :]


def mask_affix(stem: str) -> tuple[str, str, str, str]:
    """Divide the name of a mask: text before, core, mask word after it, and its number.

    `img7_mask_1` -> "", img7, _mask, _1; `mask_7` -> mask_, 7, "", "". Without a mask word all is core.
    """
    if found := _AFTER.match(stem):
        return "", found["core"], found["affix"], found["number"]
    if found := _BEFORE.match(stem):
        return found["affix"], found["core"], "", ""
    return "", stem, "", ""
