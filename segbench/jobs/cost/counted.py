"""Operations and memory of an image, as functions of its pixels and of the number of classes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

FEW = 20
"""Number of classes that a line is counted with."""


class Line(BaseModel):
    """A quantity of an image: (fixed + by_pixel x pixels) x (1 + by_class x (classes - 20))."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fixed: float
    by_pixel: float
    by_class: float = 0.0

    @classmethod
    def through(
        cls, small: tuple[int, float], large: tuple[int, float], many: tuple[int, float] | None = None
    ) -> Line:
        """Return the line through two images of different size.

        Args:
            small, large: pixels and value of an image with 20 classes.
            many: another number of classes, and the value of the small image with it; None: no influence.
        """
        slope = (large[1] - small[1]) / (large[0] - small[0])
        fixed = small[1] - slope * small[0]
        if fixed < 0:  # it grows faster than the pixels
            slope, fixed = large[1] / large[0], 0.0
        by_class = max(0.0, many[1] / small[1] - 1) / (many[0] - FEW) if many and small[1] else 0.0
        return cls(fixed=fixed, by_pixel=slope, by_class=by_class)

    def moved(self, pixels: int, value: float) -> Line:
        """Return the line of the same slope through another value, for 20 classes; never below 0."""
        return Line(fixed=max(0.0, value - self.by_pixel * pixels), by_pixel=self.by_pixel)

    def at(self, pixels: float, classes: int) -> float:
        """Return the value for an image."""
        return (self.fixed + self.by_pixel * pixels) * max(0.5, 1 + self.by_class * (classes - FEW))


class Counted(BaseModel):
    """What was counted of a network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    forward: Line
    """FLOPs of a forward pass with losses (a multiply-add counts 2)."""
    kept: Line
    """Bytes in fp32 that the forward pass keeps for the backward pass."""
    prediction: Line
    """FLOPs of a prediction."""
    parameters: int
    """Number of parameters."""

    def step(self, pixels: float, classes: int) -> float:
        """Return the FLOPs of an image in a step: the backward pass costs twice the forward pass."""
        return 3 * self.forward.at(pixels, classes)
