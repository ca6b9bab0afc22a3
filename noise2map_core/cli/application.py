"""The command line of an application: settings in, exit code out."""

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from types import FrameType
from typing import Any, NoReturn

from pydantic import BaseModel

from noise2map_core.cli.flags import Flags
from noise2map_core.cli.helping import help_asked, show_help
from noise2map_core.runtime.diagnosis import diagnosis
from noise2map_core.runtime.errors import LeaseLostError
from noise2map_core.runtime.progress import waiting
from noise2map_core.runtime.redact import redacted
from noise2map_core.settings.reading import (
    ConfigT,
    Settings,
    build_config,
    flag_of,
    iter_settings,
)
from noise2map_core.workflows.configs import SUFFIXES, read_configs

ALIASES = {
    "aoi": "region.aoi",
    "catalog": "search.catalog",
    "collection": "search.collection",
    "bands": "search.bands",
    "before": "search.before",
    "after": "search.after",
    "checkpoint": "model.checkpoint",
    "output": "products.output",
}
"""Short flags and the settings that they stand for, in applications that have such a setting."""

NONE: Settings = {}
TERMINATED = 128 + signal.SIGTERM
STDOUT = 1
UNREAD = 128 + signal.SIGPIPE


def application(
    config_type: type[ConfigT],
    run: Callable[[ConfigT], Any],
    *,
    name: str = "",
    aliases: Mapping[str, str] = ALIASES,
    operands: Sequence[str] = (),
    description: str = "",
    unseen: Sequence[str] = (),
    rest: str = "",
) -> NoReturn:
    """Run a command: `[CONFIG ...] [--flags]`.

    `operands` name settings that may stand first without their flags, in place of the YAML file;
    the last of them takes all words up to the first flag. `unseen` are not in its help; `rest`
    names the setting that takes the flags, if they are another command's.

    Prints the lines of the result's `summary()` where it has one. Ends the process: 0 done (or the
    result's `exit_code`), else the exit code of the error, with one line on stderr (and the
    traceback after `--debug`).
    """
    try:
        words, left = _of_another(sys.argv[1:]) if rest else (sys.argv[1:], ())
        args = _with_flags(config_type, words, operands)
        shown = " ".join([name, *(operand.upper() for operand in operands)])
        parse = partial(
            parse_config, config_type, args, name=shown, description=description, aliases=aliases,
            unseen=unseen, more={rest: left} if left else {},
        )  # fmt: skip
        sys.exit(_run(parse, run, name, debug="--debug" in (*args, *left)))
    finally:
        finish_output()


def parse_config(
    config_type: type[ConfigT],
    args: Sequence[str],
    *,
    name: str = "",
    description: str = "",
    aliases: Mapping[str, str] = ALIASES,
    unseen: Sequence[str] = (),
    more: Settings = NONE,
) -> ConfigT:
    """The config of a command line: YAML files first, if any, each over those before it, then
    flags. Paths in a file are relative to it, those of flags to the current directory. `more` are
    settings that stand in neither.

    Raises ConfigError in one line: for a misspelt key its path, for missing settings their flags.
    """
    words = configs_of(args)
    settings, flags = read_configs(config_type, words), args[len(words) :]
    command = Flags(config_type, aliases, f"noise2map {name} [CONFIG ...]", description, unseen)
    if asked := help_asked(flags):
        show_help(command, asked, settings)
    given = command.read(flags, settings)
    given.pop("debug", None)
    return build_config(config_type, settings, {**given, **more})


def configs_of(args: Sequence[str]) -> Sequence[str]:
    """The words before the first flag: YAML files, and names of configs that ship."""
    return list(takewhile(lambda arg: not arg.startswith("-"), args))


def _of_another(args: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Words up to the first flag, and the rest, which is another command's; all are this one's if
    they begin with a flag or ask for help."""
    words = configs_of(args)
    return (words, args[len(words) :]) if words and not help_asked(args) else (args, ())


def _with_flags(
    config_type: type[ConfigT], args: Sequence[str], operands: Sequence[str]
) -> Sequence[str]:
    """`change.tif …` as `--map change.tif …`; flags and YAML files stay as they are.

    Switches, which take no value, may also stand before the operands.
    """
    if operands:
        ahead = list(takewhile(_switches(config_type).__contains__, args))
        args = [*args[len(ahead) :], *ahead]
    words = list(takewhile(lambda arg: not arg.startswith("-"), args))
    if not operands or not words or words[0].endswith(SUFFIXES):
        return args
    *single, last = operands
    given = [
        part for pair in zip(single, words, strict=False) for part in (f"--{pair[0]}", pair[1])
    ]
    if left := words[len(single) :]:
        given += [f"--{last}", *left]
    return [*given, *args[len(words) :]]


def _switches(config_type: type[BaseModel]) -> set[str]:
    paths = [one.path for one in iter_settings(config_type) if one.field.annotation is bool]
    return {"--debug", *(f"--{path}" for path in paths), *map(flag_of, paths)}


def _run(
    parse: Callable[[], ConfigT], run: Callable[[ConfigT], Any], name: str, *, debug: bool
) -> int:
    sigterm = _Sigterm()
    signal.signal(signal.SIGTERM, sigterm)
    try:
        config = parse()
        with waiting(name or "running"):
            result = run(config)
        for line in result.summary() if hasattr(result, "summary") else ():
            print(line)
        return int(getattr(result, "exit_code", 0))
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and not sigterm.received:
            raise
        # A run that loses its lease sends itself the signal, and says why it ends.
        asked = sigterm.received and not isinstance(error, LeaseLostError)
        return report_failure(error, debug=debug, terminated=asked)


class _Sigterm:
    """Unwinds the main thread at SIGTERM, and remembers that it came.

    The memory is what counts: Ray makes of whatever is raised while it waits an exit with code 1.
    """

    received = False

    def __call__(self, signum: int, frame: FrameType | None) -> NoReturn:
        self.received = True
        raise SystemExit(TERMINATED)


def report_failure(error: BaseException, *, debug: bool, terminated: bool = False) -> int:
    """Say in one line on stderr what went wrong; returns the exit code."""
    if isinstance(error, BrokenPipeError) and _is_unread():
        return UNREAD
    if debug:
        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr)
    line, code = (_STOPPED, TERMINATED) if terminated else diagnosis(error)
    print(redacted(line), file=sys.stderr, flush=True)
    return code


def finish_output() -> None:
    """Write what is left for stdout. Where that fails the process ends: as Unix tools do, without a
    word, if whoever read it has gone (`noise2map … | head`), else as at any failure."""
    try:
        print(end="", flush=True)
    except OSError as error:
        code = report_failure(error, debug=False)
        # Python tries again on its way out, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        sys.exit(code)


def _is_unread() -> bool:
    """True if stdout is a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(STDOUT, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


_STOPPED = "Stopped by SIGTERM; the same command continues where this one ended."
