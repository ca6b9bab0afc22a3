"""How many alerts people confirmed, of those that they judged."""

import math
from dataclasses import dataclass
from pathlib import Path

from noise2map_core.alerts.verdicts import VERDICTS, read_verdicts

Z95 = 1.959964
"""Of a 95 % interval."""


@dataclass(frozen=True)
class Precision:
    """Verdicts of an area, counted."""

    confirmed: int
    rejected: int
    unsure: int

    @property
    def judged(self) -> int:
        """Confirmed or rejected; who is unsure says nothing of either."""
        return self.confirmed + self.rejected

    @property
    def share(self) -> float | None:
        """Share that is confirmed; None if none is judged."""
        return self.confirmed / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float]:
        """Of that share, 95 % (Wilson 1927), as if those that were judged were drawn at random."""
        n, p = self.judged, self.share or 0.0
        if not n:
            return 0.0, 1.0
        middle = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)

    def line(self) -> str:
        """For people; empty if nobody has judged."""
        if self.share is None:
            return f"{self.unsure} alerts judged, all unsure" if self.unsure else ""
        low, high = self.interval
        unsure = f"; {self.unsure} unsure" if self.unsure else ""
        return (
            f"precision by verdicts {self.share:.2f} ({low:.2f} to {high:.2f}): {self.confirmed} "
            f"of {self.judged} alerts confirmed{unsure}"
        )

    def document(self) -> dict[str, float | int | None]:
        """As JSON."""
        share = None if self.share is None else round(self.share, 4)
        low, high = (round(edge, 4) for edge in self.interval)
        return {"confirmed": self.confirmed, "rejected": self.rejected, "unsure": self.unsure,
                "precision": share, "low": low, "high": high}  # fmt: skip


def precision_of(folder: Path) -> Precision | None:
    """Of the verdicts in the folder `alerts` of an area; None if nobody has judged. Raises
    OutputError for verdicts that cannot be read."""
    if not (folder / VERDICTS).exists():
        return None
    counts = read_verdicts(folder / VERDICTS)["verdict"].value_counts()
    return Precision(*(int(counts.get(name, 0)) for name in ("confirmed", "rejected", "unsure")))
