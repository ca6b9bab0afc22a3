"""Pages as people follow them: the blocks of a page, in order, as one script of bash.

A block of `sh` is run as it stands, one of `python` by python, one of `yaml` with a title is
written to that file. A block without a language is something to look at. What cannot be run has, in
the line above, `<!-- not run: the reason -->`; what people do by hand stands in
`<!-- by hand: a name for it -->`, and is done by the test.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n)?"
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$"
    r"|^<!-- by hand: (?P<hand>[^\n]+?) -->$",
    flags=re.MULTILINE | re.DOTALL,
)
END = "END_OF_THE_BLOCK"
BY_HAND = "by hand"
TIMEOUT_S = 800
"""Of a whole page; on two cores of their own it takes one or two minutes."""


@dataclass(frozen=True)
class Block:
    """A fenced block, or a step that is done by hand, whose text is its name."""

    language: str
    text: str
    title: str
    """File that it is to be; empty: none."""
    reason: str
    """Why it is not run; empty: it is."""

    def script(self) -> str:
        """What bash is told in its place."""
        if self.reason or not self.language:
            return ""
        if self.title:
            return f"cat > {self.title} <<'{END}'\n{self.text}{END}\n"
        if self.language == "python":
            return f"python - <<'{END}'\n{self.text}{END}\n"
        assert self.language == "sh", f"nobody knows how to run {self.language}: {self.text}"
        return self.text


def blocks(page: str) -> list[Block]:
    """All of a page, in order."""
    return [
        Block(BY_HAND, found["hand"], "", "")
        if found["hand"]
        else Block(found["language"], found["text"], found["title"] or "", found["reason"] or "")
        for found in BLOCK.finditer(page)
    ]


def follow(
    page: Path, folder: Path, by_hand: Mapping[str, str] | None = None, **variables: str
) -> str:
    """Do what the page says, in the folder; what was printed. Fails with the first command that
    does.

    `by_hand` has, by the name of a step that is done by hand, what bash is told in its place.
    """
    hands = by_hand or {}
    steps = [
        hands[block.text] if block.language == BY_HAND else block.script()
        for block in blocks(page.read_text(encoding="utf-8"))
    ]
    script = "\n".join(["set -euo pipefail", *steps])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-x", "-c", script], cwd=folder, env={**os.environ, **variables, "PATH": path},
        capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert ended.returncode == 0, f"{page.name}: {ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
    return ended.stdout
