"""Rectangles of pixels."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A half-open rectangle of pixels: rows [row, row + height), columns [col, col + width)."""

    row: int
    col: int
    height: int
    width: int

    @property
    def row_stop(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    @property
    def is_empty(self) -> bool:
        """True if the window holds no pixel."""
        return self.height <= 0 or self.width <= 0

    def grow(self, halo: int) -> "Window":
        """This window with `halo` more pixels on every side; may reach outside the grid."""
        return Window(
            self.row - halo, self.col - halo, self.height + 2 * halo, self.width + 2 * halo
        )

    def intersect(self, other: "Window") -> "Window":
        """The pixels that both windows hold; empty (zero height or width) if there are none."""
        row, col = max(self.row, other.row), max(self.col, other.col)
        height = max(0, min(self.row_stop, other.row_stop) - row)
        width = max(0, min(self.col_stop, other.col_stop) - col)
        return Window(row, col, height, width)

    def union(self, other: "Window") -> "Window":
        """The smallest window that holds both."""
        row, col = min(self.row, other.row), min(self.col, other.col)
        height = max(self.row_stop, other.row_stop) - row
        width = max(self.col_stop, other.col_stop) - col
        return Window(row, col, height, width)

    def slices_in(self, frame: "Window") -> tuple[slice, slice]:
        """Row and column slices of this window in an array that covers `frame`."""
        row, col = self.row - frame.row, self.col - frame.col
        return slice(row, row + self.height), slice(col, col + self.width)
