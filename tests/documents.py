"""Pages as people follow them: the blocks of a page, in order, as one script of bash.

A block of `sh` is run as it stands, one of `python` by python, one of `yaml` with a title is written to
that file. A block without a language is something to look at. What cannot be run has, in the line above,
`<!-- not run: the reason -->`.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n)?"
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)
END = "END_OF_THE_BLOCK"


@dataclass(frozen=True)
class Block:
    """A fenced block."""

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
    """All of a page."""
    return [
        Block(found["language"], found["text"], found["title"] or "", found["reason"] or "")
        for found in BLOCK.finditer(page)
    ]


def follow(page: Path, folder: Path, timeout_s: float = 600, **variables: str) -> str:
    """Do what the page says, in the folder; what was printed. Fails with the first command that does."""
    steps = [block.script() for block in blocks(page.read_text(encoding="utf-8"))]
    script = "\n".join(["set -euo pipefail", *steps])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-x", "-c", script], cwd=folder, env={**os.environ, **variables, "PATH": path},
        capture_output=True, text=True, timeout=timeout_s,
    )  # fmt: skip
    assert ended.returncode == 0, f"{page.name}: {ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
    return ended.stdout
