"""Completion in shells: commands, and the flags of each."""

import contextlib
import io
from collections.abc import Mapping
from typing import Annotated, Any, Union

import tyro

from noise2map_core.cli.flags import Flags
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.launch import Command

SHELLS = ("bash", "zsh", "tcsh")


def completion_script(shell: str, commands: list[Command], aliases: Mapping[str, str]) -> str:
    """A script that a shell reads. Raises ConfigError for a shell that is none of `SHELLS`."""
    if shell not in SHELLS:
        raise ConfigError(f"--print-completion knows {', '.join(SHELLS)}, not {shell!r}.")
    script = io.StringIO()
    parser: Any = Union.__getitem__(tuple(_subcommand(one, aliases) for one in commands))
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        tyro.cli(parser, args=["--tyro-print-completion", shell], prog="noise2map")
    # Where no flag fits, files: of configs, and behind flags of paths.
    return script.getvalue().replace("complete -F", "complete -o default -F")


def _subcommand(command: Command, aliases: Mapping[str, str]) -> Any:
    about = tyro.conf.subcommand(name=command.name, prefix_name=False, description=command.summary)
    return Annotated[Flags(command.workflow.config, aliases, "").parser({}), about]
