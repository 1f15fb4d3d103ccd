"""Channels of images: their number, and the window of values that is scaled to 0..1."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, FiniteFloat

MAX_CHANNELS = 16
Channels = Annotated[int, Field(ge=1, le=MAX_CHANNELS)]

ShownChannels = tuple[Channels] | tuple[Channels, Channels, Channels]
"""Numbers of channels to show, from 1: one as grey, or three as red, green and blue."""


def _rising(window: tuple[float, float]) -> tuple[float, float]:
    if not window[0] < window[1]:
        raise ValueError(f"a window is [low, high] with low < high, not {list(window)}")
    return window


Range = Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_rising)]
Window = Range | list[Range]
"""(low, high): the values that are scaled to 0 and 1; one for all channels, or a list with one by channel."""


def window_by_channel(window: Window, channels: int) -> list[tuple[float, float]]:
    """Return the window of each channel. ValueError if there are neither one nor `channels` windows."""
    if isinstance(window, tuple):
        return [window] * channels
    if len(window) not in (1, channels):
        raise ValueError(f"has {len(window)} windows for {channels} channels: write one, or one by channel")
    return window * (channels // len(window))
