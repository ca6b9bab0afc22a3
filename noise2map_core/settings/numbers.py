"""Numbers that a setting may be: finite, and of a size that a machine can deal with.

Types of pydantic take 1e400 for infinity, and a whole number of any length.
"""

from typing import Annotated

from pydantic import Field, FiniteFloat

MAX_COUNT = 1_000_000
MAX_SIDE_PX = 8192
MAX_BATCH = 4096
MAX_DAYS = 36_500
MAX_SEED = 2**32 - 1

__all__ = [
    "Batch", "Count8", "Days", "FiniteFloat", "NonNegativeFloat", "NonNegativeInt", "PositiveFloat",
    "PositiveInt", "Seed", "SidePx",
]  # fmt: skip

PositiveInt = Annotated[int, Field(gt=0, le=MAX_COUNT)]
NonNegativeInt = Annotated[int, Field(ge=0, le=MAX_COUNT)]

PositiveFloat = Annotated[FiniteFloat, Field(gt=0)]
NonNegativeFloat = Annotated[FiniteFloat, Field(ge=0)]

SidePx = Annotated[int, Field(gt=0, le=MAX_SIDE_PX)]
"""Of a square of pixels that is held in memory, all dates and bands of it."""

Batch = Annotated[int, Field(gt=0, le=MAX_BATCH)]
"""Chips that are computed at once."""

Count8 = Annotated[int, Field(ge=0, le=255)]
"""Of what is counted for every pixel, in a byte."""

Days = Annotated[int, Field(gt=0, le=MAX_DAYS)]

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
"""Of generators of random numbers."""
