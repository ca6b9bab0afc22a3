"""Paths in a YAML file: they are relative to the file, wherever a command is run.

Which settings are paths, their types say: `Path`, and text that is marked here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from noise2map_core.runtime.errors import ConfigError
from noise2map_core.settings.reading import Settings, section_of

Place = Callable[[str, bool], str]
"""Where a path lies that stands in a file; True: it may be a name as well."""

ELSEWHERE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|[/~]|[-+.\deE\s]+,")
"""Begins an address, a path that is absolute, or a box; none of them is relative to anything."""


@dataclass(frozen=True, slots=True)
class IsPath:
    """Marks text that is the path of a file."""

    or_name: bool = False
    """It may be the name of something else instead: a checkpoint that ships, an asset's key."""


@dataclass(frozen=True, slots=True)
class AreSettingsOf:
    """Marks settings that are read later, of another config class."""

    config: type[BaseModel]


PathText = Annotated[str, IsPath()]
"""A setting that is the path or address of a file."""


def placed(config_type: type[BaseModel], settings: Settings, place: Place) -> Settings:
    """Settings as a file holds them, with its paths where they lie. What is no setting stays."""
    fields = config_type.model_fields
    return {
        name: _placed((fields[name].annotation, *fields[name].metadata), value, place)
        if name in fields else value
        for name, value in settings.items()
    }  # fmt: skip


def beside(file: Path) -> Place:
    """Paths are relative to `file`."""
    folder = file.parent

    def place(text: str, or_name: bool) -> str:
        there = folder / text
        if folder.resolve() == Path.cwd() or (or_name and not _is_there(text, folder)):
            return text
        if not text.startswith("./") and not there.exists() and Path(text).exists():
            raise ConfigError(
                f"{text} in {file} would be {there}, which is not there, and there is a {text} in "
                "the current directory. Paths in a YAML are relative to it: write "
                f"{Path(text).resolve()}, or ./{text} for one beside the YAML."
            )
        return str(there)

    return place


def shipped_below(root: Path) -> Place:
    """Of a config that ships, a pattern for any folder: paths are relative to the current one, but
    for files that ship beside it."""

    def place(text: str, or_name: bool) -> str:
        return str(root / text) if not Path(text).exists() and (root / text).is_file() else text

    return place


def anywhere(text: str, or_name: bool) -> str:
    """A path of the current directory as one that means the same in a file of any folder."""
    return text if or_name and not Path(text).exists() else str(Path(text).absolute())


def _is_there(text: str, folder: Path) -> bool:
    """Whether what may be a name is a path: it has a slash, or names what is in the folder."""
    return "/" in text or (folder / text).exists()


def _placed(told: tuple[Any, ...], value: Any, place: Place) -> Any:
    """A value of one of the types that are `told`, which marks may stand behind."""
    marks = [mark for mark in told if isinstance(mark, IsPath)]
    settings_of = [mark.config for mark in told if isinstance(mark, AreSettingsOf)]
    section = settings_of[0] if settings_of else section_of(told[0])
    if section is not None:
        return _placed_section(section, value, place)
    if isinstance(value, str) and (marks or told[0] is Path):
        return value if ELSEWHERE.match(value) else place(value, any(m.or_name for m in marks))
    inner = [part for part in get_args(told[0]) if not isinstance(part, IsPath | AreSettingsOf)]
    if get_origin(told[0]) is Annotated:
        return _placed((*get_args(told[0]), *marks), value, place)
    return _placed_parts([(part, *marks) for part in inner], value, place)


def _placed_section(section: type[BaseModel], value: Any, place: Place) -> Any:
    """One section, or several of a kind in a list."""
    if isinstance(value, list):
        return [_placed_section(section, one, place) for one in value]
    return placed(section, value, place) if isinstance(value, dict) else value


def _placed_parts(types: list[tuple[Any, ...]], value: Any, place: Place) -> Any:
    """A value that is one of several types, or that holds values of them."""
    for told in types:
        if isinstance(value, list):
            value = [_placed(told, one, place) for one in value]
        elif isinstance(value, dict):
            value = {name: _placed(told, one, place) for name, one in value.items()}
        else:
            value = _placed(told, value, place)
    return value
