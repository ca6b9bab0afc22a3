"""What a chip store holds, in lines for people."""

from typing import Any


def split_line(split: str, part: dict[str, Any]) -> str:
    """One split: its chips, observed share per date, labelled pixels per task and class."""
    valid = ", ".join(f"{count / part['px']:.1%}" for count in part["valid_px"])
    labels = "".join(f"; {task} {_classes(px)}" for task, px in part["label_px"].items())
    return f"{split:<9} {part['chips']:,} chips; valid {valid}{labels}"


def _classes(label_px: dict[str, int]) -> str:
    return ", ".join(f"{count:,} px {name}" for name, count in label_px.items())
