"""The commands: where each lies, and what it says of itself.

Applications are scripts in `pipelines/` and `tune/`. In a checkout (also one installed editable)
they lie beside the package; a standard wheel carries copies inside the package. The checkout comes
first. The other commands are modules of the package.
"""

import ast
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import noise2map_core
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.reading import nearest

FOLDERS = ("pipelines", "tune")
VERBS = ("ingest", "pretrain", "finetune", "evaluate", "infer", "run", "search", "compare")
"""First words of the applications, in the order of their work."""

NIGHT_TOOLS = ("review", "export-alerts", "prune")
"""Commands that are modules of `cli.commands.nights`: on areas that run-nightly watches."""
MAP_TOOLS = ("view", "publish")
"""Those of `cli.commands.maps`: finished maps, shown and handed on."""
CONFIG_TOOLS = ("init", "config", "presets", "spaces")
"""Those of `cli.commands.configs`: configs, written, shown and listed."""
INTERPRETED_TOOLS = ("template", "sample", "assess", "compare")
"""Those of `cli.commands.interpreted`: what people see in imagery."""
TOOLS = (
    "demo", *CONFIG_TOOLS, "models", "draw-town", "draw-worlds", "doctor", "scenes", "plan",
    "verify", "store", "ingest-dataset", "pair-chips", "teach-chips", "bootstrap", "rank",
    "study-timesteps", "import-reference", "export-reference", *INTERPRETED_TOOLS, *MAP_TOOLS,
    *NIGHT_TOOLS,
)  # fmt: skip
"""Commands that are modules of the package, in `cli.commands`."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """What a command is told."""

    config: type[BaseModel]
    operands: tuple[str, ...] = ()
    """Settings that may stand first without their flags; the last takes all words that are left."""
    unseen: tuple[str, ...] = ()
    """Settings that are taken, but have no effect here and are not in its help."""
    rest: str = ""
    """Setting that takes all words from the first flag on, which are another command's flags."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: a module with a `run(config)`."""

    name: str
    """On the command line: infer-region."""
    path: Path

    @property
    def docstring(self) -> str:
        """What the module says of itself; it is not imported."""
        return ast.get_docstring(ast.parse(self.path.read_text(encoding="utf-8"))) or ""

    @property
    def summary(self) -> str:
        """The first line of that."""
        return self.docstring.partition("\n")[0]

    @property
    def module(self) -> str:
        """Of a tool, its module below `cli.commands`, and that of its settings below
        `workflows.tools`."""
        return ".".join([*_folder(self.name).parts, self.path.stem])

    @property
    def workflow(self) -> Workflow:
        """Its settings: `WORKFLOW` of the module with its name, of tools in `workflows.tools`."""
        folder = "workflows.tools" if self.name in TOOLS else "workflows"
        found: Any = import_module(f"noise2map_core.{folder}.{self.module}")
        workflow: Workflow = found.WORKFLOW
        return workflow


def applications_root() -> Path:
    """The folder that holds `pipelines/`: the checkout, else the one in the installed package."""
    package = Path(noise2map_core.__file__).resolve().parent
    return package.parent if (package.parent / "pipelines").is_dir() else package / "applications"


def find_applications() -> list[Command]:
    """All applications that exist here, in the order of their work."""
    root = applications_root()
    scripts = [path for folder in FOLDERS for path in (root / folder).glob("[a-z]*_*.py")]
    return [Command(path.stem.replace("_", "-"), path) for path in sorted(scripts, key=_work_order)]


def find_tools() -> list[Command]:
    """All other commands."""
    folder = Path(noise2map_core.__file__).resolve().parent / "cli" / "commands"
    return [Command(name, folder / _file(name)) for name in TOOLS]


def find_command(name: str) -> Command:
    """A command by its name. Raises ConfigError if there is none."""
    found = {command.name: command for command in (*find_applications(), *find_tools())}
    if name not in found:
        near = nearest(name, found)
        meant = f" Did you mean {near}?" if near else ""
        raise ConfigError(f"no command {name!r}.{meant} Known: {', '.join(found)}.")
    return found[name]


def _file(tool: str) -> Path:
    file = f"{tool.replace('-', '_')}.py"
    return _folder(tool) / file


def _folder(name: str) -> Path:
    """Below the commands; of an application, none."""
    folders = {
        "nights": NIGHT_TOOLS, "maps": MAP_TOOLS, "configs": CONFIG_TOOLS,
        "interpreted": INTERPRETED_TOOLS,
    }  # fmt: skip
    return Path(next((folder for folder, tools in folders.items() if name in tools), ""))


def _work_order(script: Path) -> tuple[int, str]:
    verb = script.stem.partition("_")[0]
    return (VERBS.index(verb) if verb in VERBS else len(VERBS), script.stem)
