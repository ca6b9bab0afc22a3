"""Draws docs/rooms.svg: which room imports which, from the code as it is.

python docs/draw_rooms.py
"""

import tomllib
from collections import Counter
from pathlib import Path

import grimp
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = "noise2map_core"
TITLE = """The room of a row imports those of the columns: modules that do.
All lies above the diagonal: no import runs up, and there is no circle."""


def main() -> None:
    """A table: the room of each row imports those of the columns, so many times."""
    rooms, imports = layers(), room_imports()
    plt.rcParams["svg.hashsalt"] = PACKAGE
    figure, axis = plt.subplots(figsize=(11, 9))
    for (one, other), count in imports.items():
        _draw_cell(axis, rooms.index(one), rooms.index(other), count)
    for number in range(len(rooms)):
        axis.add_patch(Rectangle((number - 0.5, number - 0.5), 1, 1, color="#cbd5e1"))
    axis.set_xticks(range(len(rooms)), rooms, rotation=90)
    axis.set_yticks(range(len(rooms)), rooms)
    axis.xaxis.tick_top()
    axis.set(xlim=(-0.5, len(rooms) - 0.5), ylim=(len(rooms) - 0.5, -0.5), aspect="equal")
    axis.set_title(TITLE)
    figure.savefig(CHECKOUT / "docs" / "rooms.svg", bbox_inches="tight", metadata={"Date": None})


def layers() -> list[str]:
    """The rooms in the order of the import contract, the highest first."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    layered = next(one for one in contracts if one["type"] == "layers")["layers"]
    return [room.strip() for layer in layered for room in layer.split("|")]


def room_imports() -> Counter[tuple[str, str]]:
    """How many modules of one room import one of another; within functions, too."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    found: Counter[tuple[str, str]] = Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            one, other = (name.split(".")[1:2] for name in (module, imported))
            if one and other and one != other:
                found[one[0], other[0]] += 1
    return found


def _draw_cell(axis: plt.Axes, row: int, column: int, count: int) -> None:
    color = "#0f766e" if row < column else "#dc2626"
    shade = 0.15 + 0.6 * min(count, 20) / 20
    axis.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, color=color, alpha=shade, linewidth=0)
    )
    axis.text(column, row, count, ha="center", va="center", fontsize=8)


if __name__ == "__main__":
    main()
