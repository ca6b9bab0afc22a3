"""The command line of an application: settings in, exit code out."""

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from noise2map_core.cli.flags import read_flags
from noise2map_core.runtime.diagnosis import diagnosis
from noise2map_core.runtime.errors import LeaseLostError
from noise2map_core.runtime.redact import redacted
from noise2map_core.settings.reading import ConfigT, build_config, read_settings

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

TERMINATED = 128 + signal.SIGTERM
STDOUT = 1
UNREAD = 128 + signal.SIGPIPE


def application(
    config_type: type[ConfigT],
    run: Callable[[ConfigT], Any],
    *,
    aliases: Mapping[str, str] = ALIASES,
    operand: str | None = None,
) -> NoReturn:
    """Run an application as a command: `[CONFIG.yaml] [--flags]`.

    `operand` names a setting that may stand first without its flag, in place of the YAML file.

    Prints the lines of the result's `summary()` where it has one. Ends the process: 0 done, else
    the exit code of the error, with one line on stderr (and the traceback after `--debug`).
    """
    try:
        sys.exit(_run(config_type, run, _with_flag(sys.argv[1:], operand), aliases))
    finally:
        finish_output()


def parse_config(
    config_type: type[ConfigT],
    args: Sequence[str],
    *,
    description: str = "",
    aliases: Mapping[str, str] = ALIASES,
) -> ConfigT:
    """The config of a command line: a YAML file first, if any, then flags.

    Raises ConfigError in one line: for a misspelt key its path, for missing settings their flags.
    """
    settings, flags = {}, list(args)
    if flags and not flags[0].startswith("-"):
        settings = read_settings(Path(flags.pop(0)))
    given = read_flags(flags, config_type, settings, aliases, _command(), description)
    given.pop("debug", None)
    return build_config(config_type, settings, given)


def _with_flag(args: Sequence[str], operand: str | None) -> Sequence[str]:
    """`change.tif …` as `--map change.tif …`; flags and YAML files stay as they are."""
    if operand is None or not args or args[0].startswith("-"):
        return args
    return args if args[0].endswith((".yaml", ".yml")) else [f"--{operand}", *args]


def _run(
    config_type: type[ConfigT],
    run: Callable[[ConfigT], Any],
    args: Sequence[str],
    aliases: Mapping[str, str],
) -> int:
    sigterm = _Sigterm()
    signal.signal(signal.SIGTERM, sigterm)
    description = sys.modules[run.__module__].__doc__ or ""
    try:
        result = run(parse_config(config_type, args, description=description, aliases=aliases))
        for line in result.summary() if hasattr(result, "summary") else ():
            print(line)
        return 0
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and not sigterm.received:
            raise
        # A run that loses its lease sends itself the signal, and says why it ends.
        asked = sigterm.received and not isinstance(error, LeaseLostError)
        return report_failure(error, debug="--debug" in args, terminated=asked)


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


def _command() -> str:
    """How the command is written: `pipelines/infer_region.py` is `noise2map infer-region`."""
    name = Path(sys.argv[0]).stem.replace("_", "-").removeprefix("noise2map ")
    return f"noise2map {name} [CONFIG.yaml]"
