"""`--help`: what most runs set; a section, or all there is, if asked for by name."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from pydantic import BaseModel

from noise2map_core.cli.flags import Flags
from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.reading import Settings, iter_settings, section_of

FEW = 20
"""Settings that are shown whole."""
ALL, BRIEF = "all", "brief"

Sections = Mapping[str, type[BaseModel]]


def help_asked(flags: Sequence[str]) -> str | None:
    """What `--help` is asked about: a section, all, or in brief; None: it is not asked for."""
    for index, flag in enumerate(flags):
        if flag in ("-h", "--help"):
            about = flags[index + 1] if index + 1 < len(flags) else BRIEF
            return BRIEF if about.startswith("-") else about.replace("-", "_")
    return None


def show_help(command: Flags, about: str, settings: Settings) -> NoReturn:
    """Print the help of a command, with the values of `settings` as defaults, and end the process.

    Raises ConfigError for a section that there is not.
    """
    sections = _sections(command.config)
    if about not in (*sections, ALL, BRIEF):
        near = difflib.get_close_matches(about, sections, n=1)
        meant = f"Did you mean {near[0]}?" if near else f"There are {', '.join((*sections, ALL))}."
        raise ConfigError(f"there is no section {about}. {meant}")
    left = {name: one for name, one in sections.items() if name not in _shown(command, about)}
    try:
        replace(command, unseen=(*command.unseen, *left)).read(["--help"], settings)
    finally:
        if about == BRIEF and left:
            print("\n".join(_lines(command, left)))
    raise AssertionError("--help ends the process")


def _sections(config_type: type[BaseModel]) -> Sections:
    found = {name: section_of(one.annotation) for name, one in config_type.model_fields.items()}
    return {name: section for name, section in found.items() if section is not None}


def _shown(command: Flags, about: str) -> tuple[str, ...]:
    """The sections that are shown: in brief, those without which there is no run."""
    sections, fields = tuple(_sections(command.config)), command.config.model_fields
    if about == ALL or len(list(iter_settings(command.config))) <= FEW:
        return sections
    return (about,) if about != BRIEF else tuple(s for s in sections if fields[s].is_required())


def _lines(command: Flags, left: Sections) -> Iterator[str]:
    name = " ".join(command.prog.split()[:2])
    yield f"more settings, by section ({name} --help SECTION, or {ALL}):"
    for field, section in left.items():
        count = len(list(iter_settings(section)))
        told = command.config.model_fields[field].description or section.__doc__ or ""
        yield f"  {field:<16}{count:>4}  {' '.join(told.split()).partition('. ')[0].rstrip('.')}"
