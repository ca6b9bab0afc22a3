"""Whether a checkout may be released under a tag, and what is said of it.

python infra/packaging/release.py check v0.2.0    ends with 1 and a line if anything does not fit
python infra/packaging/release.py notes v0.2.0    prints the changelog's section
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
UNRELEASED = "Unreleased"
_VERSION = re.compile(r'^__version__ = "(\d+\.\d+\.\d+)"$', re.MULTILINE)


def main(task: str, tag: str) -> None:
    """Runs `check` or `notes`."""
    version, changes = version_of(ROOT), sections(ROOT)
    if task == "notes":
        print(changes[tag.removeprefix("v")])
    elif wrong := fault(tag, version, changes):
        sys.exit(wrong)


def version_of(root: Path) -> str:
    """What the package calls itself."""
    found = _VERSION.search((root / "noise2map_core" / "__init__.py").read_text("utf-8"))
    if found is None:
        raise SystemExit("noise2map_core/__init__.py has no __version__ of three numbers.")
    return found[1]


def sections(root: Path) -> dict[str, str]:
    """The changelog by its headings, newest first."""
    _, *parts = HEADING.split((root / "CHANGELOG.md").read_text("utf-8"))
    return {name.strip(): text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def fault(tag: str, version: str, changes: dict[str, str]) -> str:
    """Why a tag cannot be released, in a line; empty: it can."""
    if tag != f"v{version}":
        return f"the tag is {tag}, the version {version}: set __version__, or tag v{version}."
    newest = next(iter(changes), "")
    if newest == UNRELEASED:
        return f"the changelog begins with {UNRELEASED}: call that section {version}."
    if newest != version:
        return f"the changelog begins with {newest!r}: a section {version} belongs there."
    return "" if changes[version] else f"the changelog says nothing of {version}."


if __name__ == "__main__":
    main(*sys.argv[1:])
