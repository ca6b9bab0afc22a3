"""The console command: `noise2map infer-region …`, `noise2map doctor`, `noise2map demo`."""

import shlex
import sys
from pathlib import Path
from typing import NoReturn

import noise2map_core
from noise2map_core.cli.application import (
    ALIASES,
    configs_of,
    finish_output,
    report_failure,
)
from noise2map_core.cli.completion import completion_script
from noise2map_core.cli.start import start
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.workflows.configs import find_config
from noise2map_core.workflows.launch import (
    TOOLS,
    Command,
    applications_root,
    find_applications,
    find_command,
    find_tools,
)

USAGE = """\
usage: noise2map COMMAND [CONFIG ...] [--flags]
       noise2map APPLICATION --submit ADDRESS [CONFIG ...] [--flags]
       noise2map help COMMAND [SECTION]
       noise2map --print-completion bash|zsh|tcsh

Semantic maps and change maps of whole regions, from satellite imagery, on Ray.
"""

SUBMIT_HELP = """\
--submit ADDRESS runs an application as a job of the Ray cluster whose dashboard is there
(http://127.0.0.1:8265), with this checkout as its working directory.
A CONFIG is a YAML file, or the name of one that ships (noise2map presets); of several, the later
go before the earlier, and flags before all. `noise2map init` writes one.
Exit codes: 0 done, 1 failed, 2 bad input, 3 incomplete (some tiles failed), 4 another run holds the
output, 5 messages not delivered."""


def main() -> None:
    """Entry point of `noise2map`; ends the process with the command's exit code."""
    try:
        _main(sys.argv[1:])
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(report_failure(error, debug="--debug" in sys.argv))
    finally:
        finish_output()


def _main(args: list[str]) -> None:
    match args:
        case [] | ["-h" | "--help" | "help"]:
            print(usage())
        case ["-V" | "--version"]:
            print(f"noise2map {noise2map_core.__version__}")
        case ["--print-completion", *shell]:
            commands = [*find_applications(), *find_tools()]
            print(completion_script(" ".join(shell), commands, ALIASES))
        case ["-h" | "--help" | "help", name, *section]:
            _launch(find_command(name), ["--help", *section])
        case [name, *rest]:
            _launch(find_command(name), rest)


def usage() -> str:
    """What `noise2map --help` prints: the applications that exist here, and the tools."""
    applications, tools = _rows(find_applications()), _rows(find_tools())
    return "\n".join([USAGE, "applications:", *applications, "", "tools:", *tools, "", SUBMIT_HELP])


def _rows(commands: list[Command]) -> list[str]:
    return [f"  {command.name:18}{command.summary}" for command in commands]


def _launch(command: Command, args: list[str]) -> NoReturn:
    address, rest = split_submit(args)
    if address is None or {"-h", "--help"} & set(rest):
        sys.argv = [str(command.path), *rest]
        start(command.name)
    if command.name in TOOLS:
        raise ConfigError(f"{command.name} is no application: it runs here, without --submit.")
    from noise2map_core.distributed.cluster.jobs import run_job  # Ray takes a second to import

    root = applications_root()
    sys.exit(run_job(address, job_entrypoint(command.path, root, rest), root))


def split_submit(args: list[str]) -> tuple[str | None, list[str]]:
    """The address after `--submit`, and the other arguments. Raises ConfigError without one."""
    for index, arg in enumerate(args):
        if arg.startswith("--submit="):
            return arg.partition("=")[2], args[:index] + args[index + 1 :]
        if arg == "--submit":
            if index + 1 == len(args) or args[index + 1].startswith("-"):
                raise ConfigError("--submit needs an address, such as http://127.0.0.1:8265.")
            return args[index + 1], args[:index] + args[index + 2 :]
    return None, args


def job_entrypoint(script: Path, root: Path, args: list[str]) -> str:
    """The command that a job runs in a copy of `root`.

    Configs are named as they lie under `root`, whatever the current directory. Raises ConfigError
    if one lies elsewhere: the cluster would not have it.
    """
    words = configs_of(args)
    configs = [_below(root, find_config(word), word) for word in words]
    script_name = script.relative_to(root).as_posix()
    return shlex.join(["python", script_name, *configs, *args[len(words) :]])


def _below(root: Path, config: Path, word: str) -> str:
    if not config.resolve().is_relative_to(root):
        raise ConfigError(
            f"config {word} lies outside {root}, which is what a job is sent. "
            "Copy it there, or give its settings as flags."
        )
    return config.resolve().relative_to(root).as_posix()
