"""Commands by their names: settings are read first, then what needs them is imported.

Torch, Ray and GDAL take seconds to import; help and mistyped flags need none of them.
"""

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any, NoReturn

from pydantic import BaseModel

from noise2map_core.cli.application import application
from noise2map_core.workflows.launch import TOOLS, Command, find_command


def start(name: str) -> NoReturn:
    """Run a command; its arguments are `sys.argv[1:]`. Ends the process with its exit code."""
    command = find_command(name)
    workflow = command.workflow

    def run(config: BaseModel) -> Any:
        return load(command).run(config)

    application(
        workflow.config, run, name=name, operands=workflow.operands,
        description=command.docstring, unseen=workflow.unseen, rest=workflow.rest,
    )  # fmt: skip


def load(command: Command) -> ModuleType:
    """The module of a command, imported: that of an application by its path."""
    if command.name in TOOLS:
        return import_module(f"noise2map_core.cli.commands.{command.module}")
    name = f"noise2map_applications.{command.path.stem}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, command.path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[name] = module  # before it runs: dataclasses look up annotations there
        spec.loader.exec_module(module)
    return sys.modules[name]
