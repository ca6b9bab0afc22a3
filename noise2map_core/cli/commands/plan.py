"""Say what infer-region would do and take with the same arguments: tiles, bytes, time, memory."""

import sys

from noise2map_core.workflows.launch import find_application, run_application


def main() -> None:
    """The command `noise2map plan`."""
    run_application(find_application("infer-region"), [*sys.argv[1:], "--plan"])
