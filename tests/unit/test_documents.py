"""The documents: no dead ends, nothing loaded from elsewhere, flags that exist."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from infra.site.reference import reference_pages
from noise2map_core.cli.application import ALIASES
from noise2map_core.settings.reading import iter_settings
from noise2map_core.workflows.launch import find_applications, find_tools
from noise2map_core.workflows.tools.configs.catalogues import known_collection
from noise2map_core.workflows.tools.configs.init import OPEN_IMAGERY
from tests.documents import blocks

LOADED = re.compile(
    r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?(?:https?:)?//|@import"
    r"|<link[^>]*rel=\"?(?:stylesheet|preconnect|icon)[^>]*href=\"?(?:https?:)?//"
)
COMMANDS = {command.name: command for command in (*find_applications(), *find_tools())}
RUN_BY_MAIN = {"--submit", "--debug", "--help"}
MOST_LINES = 150


@pytest.fixture(scope="module")
def site(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does: a warning, a dead link or a missing anchor fails."""
    out = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out],
        cwd=checkout, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-4000:]
    return out


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    loading = {page.name: found[0] for page in pages if (found := LOADED.search(page.read_text()))}
    assert loading == {}


def test_every_setting_of_every_command_is_in_the_reference(site: Path) -> None:
    for name, command in COMMANDS.items():
        page = (site / "reference" / "commands" / f"{name}.html").read_text()
        shown = set(re.findall(r"<td><code>([\w.]+)</code></td>", page))
        assert {one.path for one in iter_settings(command.workflow.config)} <= shown, name


def test_nothing_that_is_built_is_missing_from_the_navigation(site: Path, checkout: Path) -> None:
    nav = re.findall(r"[\w/-]+\.md", (checkout / "mkdocs.yml").read_text())
    pages = {page.relative_to(site).with_suffix(".md").as_posix() for page in site.rglob("*.html")}
    others = {page for page in pages if not page.startswith(("reference/commands/", "assets/"))}
    assert others - {"404.md"} == set(nav)


def test_readme_is_short(checkout: Path) -> None:
    assert len((checkout / "README.md").read_text().splitlines()) <= MOST_LINES


def documents(checkout: Path) -> Iterator[Path]:
    yield from (checkout / name for name in ("README.md", "infra/README.md"))
    yield from sorted((checkout / "docs").rglob("*.md"))


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of every command in a page's blocks."""
    for block in blocks(text):
        for line in block.text.replace("\\\n", " ").splitlines():
            plain = line.partition("  #")[0]
            if "noise2map " in plain and "|" not in plain:
                words = plain.replace("…", "").replace("'", '"')
                yield shlex.split(words[words.index("noise2map ") :], comments=True)[1:]


def test_commands_of_the_documents_have_flags_that_exist(checkout: Path) -> None:
    wrong, seen = [], 0
    for page in documents(checkout):
        for found in commands_of(page.read_text()):
            shown = found[:2] == ["config", "show"] and found[2] in COMMANDS
            words = found[2:] if shown else found  # flags are those of the command
            known = known_flags(words[0]) if words and words[0] in COMMANDS else None
            for word in words[1:]:
                if known is not None and word.startswith("--"):
                    seen += 1
                    flag = word.partition("=")[0].replace("-", "_").replace("__", "--", 1)
                    if flag not in known:
                        wrong.append(f"{page.name}: {words[0]} {word}")
    assert wrong == [] and seen > 100


def known_flags(name: str) -> set[str]:
    paths = {one.path for one in iter_settings(COMMANDS[name].workflow.config)}
    short = {alias for alias, path in ALIASES.items() if path in paths}
    negated = {re.sub(r"(\w+)$", r"no_\1", path) for path in paths}
    return {f"--{path}" for path in paths | short | negated} | RUN_BY_MAIN


def test_the_catalogues_that_init_knows_are_in_the_reference() -> None:
    page = dict(reference_pages())["reference/catalogues"]
    parts = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    for catalog, collection in OPEN_IMAGERY.values():
        known = known_collection(catalog, collection)
        (part,) = (part for part in parts if f"`--catalog {catalog}`" in part)
        assert known is not None and f"| `{collection}` | {known.imagery} | {known.bands} |" in part


def test_yaml_blocks_are_yaml(checkout: Path) -> None:
    for page in documents(checkout):
        for block in blocks(page.read_text()):
            if block.language in ("yaml", "yml"):
                yaml.safe_load(block.text)
