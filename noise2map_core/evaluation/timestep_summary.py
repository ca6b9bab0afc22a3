"""What the studies of several chips say together: a table for people, and a document."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from noise2map_core.evaluation.evidence.wrong_timestep import WrongTimesteps
from noise2map_core.evaluation.timestep_study import TimestepStudy, f1_of


@dataclass(frozen=True)
class StudiedTimesteps:
    """F1 at each timestep, over all chips that were studied; of more than two classes the mean."""

    output: Path
    timesteps: tuple[int, ...]
    gains: tuple[float, ...]
    f1: dict[str, list[float]]
    """By order of the dates."""
    undecided: float
    """Part of the observed pixels that are decided otherwise at another timestep or order."""
    num_chips: int
    threshold: dict[str, float]
    """Of the task that was studied."""
    wrong: WrongTimesteps | None = None
    """The same mixtures, told other timesteps; None: not tried."""

    @classmethod
    def of(cls, output: Path, studies: Sequence[TimestepStudy]) -> Self:
        """The sum of the studies of all chips."""
        first = studies[0]
        f1 = f1_of(sum((study.counts() for study in studies[1:]), first.counts()))
        observed = sum(int(study.observed.sum()) for study in studies)
        undecided = sum(int(study.changes_its_mind.sum()) for study in studies)
        return cls(
            output,
            first.timesteps,
            first.gains,
            dict(zip(first.orders, f1, strict=True)),
            undecided / max(observed, 1),
            len(studies),
            first.task.threshold,
        )

    def document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = asdict(replace(self, wrong=None))
        del plain["output"]
        return plain | {"wrong": self.wrong.document() if self.wrong else None}

    def summary(self) -> list[str]:
        """A table for people."""
        head = f"{'t':>6} {'gain':>7} " + " ".join(f"{'F1 ' + name:>12}" for name in self.f1)
        rows = [
            f"{t:6} {gain:7.3f} "
            + " ".join(f"{values[index]:12.3f}" for values in self.f1.values())
            for index, (t, gain) in enumerate(zip(self.timesteps, self.gains, strict=True))
        ]
        return [
            f"{self.num_chips} chips; {self.undecided:.1%} of their pixels are decided otherwise "
            "at another timestep or order",
            head,
            *rows,
            *(self.wrong.summary() if self.wrong else ()),
            f"pictures  {self.output}",
        ]
