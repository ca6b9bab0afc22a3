"""Where the applications lie, and how they are started.

In a checkout (also one installed editable) that is beside the package; a standard wheel carries
copies inside the package. The checkout comes first.
"""

import ast
import importlib.util
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import noise2map_core
from noise2map_core.runtime.errors import ConfigError

FOLDERS = ("pipelines", "tune")
VERBS = ("ingest", "pretrain", "finetune", "evaluate", "infer", "run", "search", "compare")
"""First words of the applications, in the order of their work."""


@dataclass(frozen=True, slots=True)
class Application:
    """One script of `pipelines/` or `tune/`."""

    command: str
    """Name on the command line: infer-region."""
    path: Path
    summary: str
    """First line of its docstring."""


def applications_root() -> Path:
    """The folder that holds `pipelines/`: the checkout, else the one in the installed package."""
    package = Path(noise2map_core.__file__).resolve().parent
    return package.parent if (package.parent / "pipelines").is_dir() else package / "applications"


def find_applications() -> list[Application]:
    """All applications that exist here, in the order of their work."""
    root = applications_root()
    scripts = [path for folder in FOLDERS for path in (root / folder).glob("[a-z]*_*.py")]
    return [
        Application(path.stem.replace("_", "-"), path, summary_of(path))
        for path in sorted(scripts, key=_work_order)
    ]


def find_application(command: str) -> Application:
    """The application of a command. Raises ConfigError if there is none."""
    found = {application.command: application for application in find_applications()}
    if command not in found:
        known = ", ".join(found)
        raise ConfigError(f"no application {command!r} in {applications_root()}; known: {known}.")
    return found[command]


def run_application(application: Application, args: list[str]) -> None:
    """Run an application in this process, as `python pipelines/x.py args` would."""
    sys.argv = [str(application.path), *args]
    runpy.run_path(str(application.path), run_name="__main__")


def load_application(command: str) -> ModuleType:
    """The application's module, imported by path, for its config class and its `run`."""
    path = find_application(command).path
    name = f"noise2map_applications.{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # before it runs: pydantic looks up annotations there
        spec.loader.exec_module(module)
    return sys.modules[name]


def _work_order(script: Path) -> tuple[int, str]:
    verb = script.stem.partition("_")[0]
    return (VERBS.index(verb) if verb in VERBS else len(VERBS), script.stem)


def summary_of(path: Path) -> str:
    """First line of a script's docstring, without importing it."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]
