"""What mkdocs asks while it builds the site: pages made of the code, links to files.

Pages that lie outside of docs/ (README.md is the front page) are shown where `ELSEWHERE` says, and
notebooks as they are written, without what they print. A link is written as it is right in the
checkout; of one to a file that is no page its words stay.
"""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from infra.site.reference import reference_pages
from infra.site.settings import command_pages

CHECKOUT = Path(__file__).resolve().parents[2]
ELSEWHERE = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "explanations/contributing.md",
    "SECURITY.md": "explanations/security.md",
    "infra/README.md": "how-to/operations.md",
    "infra/scale.md": "evidence/continent.md",
    "README.md": "index.md",
}
"""Where on the site a file of the checkout is shown."""
ALONE = ("index.md", "gallery/index.md", "changes.md")
LINK = re.compile(r"(!?\[(?:[^\]\[]|\[[^\]]*\])*\])\(([^()\s]+)\)")
COMMANDS = "reference/commands"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Lists the commands below Reference."""
    commands = [{name: f"{COMMANDS}/{name}.md"} for name, _ in command_pages()]
    reference = next(part["Reference"] for part in config.nav or [] if "Reference" in part)
    place = next(at for at, part in enumerate(reference) if "Commands" in part)
    reference[place] = {"Commands": commands}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made or lie elsewhere."""
    made = {f"{COMMANDS}/{name}.md": text for name, text in command_pages()}
    made |= {f"{name}.md": text for name, text in reference_pages()}
    for notebook in (CHECKOUT / "docs" / "notebooks").glob("*.ipynb"):
        made[f"notebooks/{notebook.stem}.md"] = _notebook(notebook)
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    for source, path in ELSEWHERE.items():
        files.append(File.generated(config, path, content=(CHECKOUT / source).read_text()))
    return files


def _notebook(path: Path) -> str:
    """Its cells as a page."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [("".join(cell["source"]), cell["cell_type"] == "code") for cell in cells]
    return "\n\n".join(f"```python\n{text}\n```" if code else text for text, code in texts)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are right on the site; beside a page that is alone no list of pages."""
    if page.file.src_uri in ALONE:
        page.meta["hide"] = ["navigation"]
    here = _home(page.file.src_uri)
    return LINK.sub(lambda link: _moved(link, here, page.file.src_uri, files), markdown)


def _home(src_uri: str) -> str:
    """Where in the checkout a page lies."""
    shown = {path: source for source, path in ELSEWHERE.items()}
    folder, _, name = src_uri.rpartition("/")
    notebook = f"docs/{folder}/{name.replace('.md', '.ipynb')}"
    return shown.get(src_uri, notebook if folder == "notebooks" else f"docs/{src_uri}")


def _moved(link: re.Match[str], here: str, src_uri: str, files: Files) -> str:
    words, target = link.groups()
    path, hash_, anchor = target.partition("#")
    if not path or ":" in path:
        return link[0]
    place = (CHECKOUT / here).parent.joinpath(path).resolve()
    inside = place.relative_to(CHECKOUT).as_posix()
    page = ELSEWHERE.get(inside, inside.removeprefix("docs/")).replace(".ipynb", ".md")
    if files.get_file_from_path(page):
        return f"{words}({_relative(page, src_uri)}{hash_}{anchor})"
    return words[1:-1] if place.exists() else link[0]  # what is nowhere is mkdocs' to complain of


def _relative(page: str, src_uri: str) -> str:
    ups: Any = len(Path(src_uri).parts) - 1
    return "../" * ups + page
