"""What a network needs to see, by which recipes are fitted to a dataset."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat

from segbench.contract.recipe import Strict


class Needs(Strict):
    """`fits` of a network's entry. Lengths are in pixels of the image that the network gets."""

    object: PositiveFloat = 16
    """Size (square root of the area) from which the network separates objects well."""
    structure: PositiveFloat = 4
    """Width from which the network separates structures, such as vessels: about half of the stride of its
    output."""
    whole: bool = False
    """Whether the network learns where objects lie in the image, as those with queries or a grid do. A crop
    should then show the whole image."""
    window: Literal["always", "large", "never"] = "never"
    """Predict by a sliding window: `always`, as large as the crop, for networks that pool over their whole
    input; `large`, for images of many pixels; `never`. Only semantic networks have windows."""
    dice: bool = False
    """Whether the option `loss` takes a weight for `dice`."""
    queries: bool = False
    """Whether the network has the option `queries`, which limits the number of segments of an image."""
    detections: bool = False
    """Whether the network has the option `detections_per_image`."""
