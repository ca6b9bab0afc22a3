"""YAML for people: settings with what their docstrings say of them."""

import textwrap
from collections.abc import Collection, Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from noise2map_core.settings.reading import Settings, section_of

WIDTH = 96


def commented(
    config_type: type[BaseModel], settings: Settings, offered: Collection[str] = ()
) -> str:
    """Settings as YAML, each under its description; below them, commented out by a # before the
    name, those `offered` by their paths, with their defaults."""
    given = {name: value for name, value in settings.items() if value is not None}
    others = _defaults(config_type, set(offered), "")
    lines = [*_lines(config_type, given), *(f"#{line}" for line in _lines(config_type, others))]
    return "\n".join(lines) + "\n"


def _lines(config_type: type[BaseModel], settings: Settings) -> Iterator[str]:
    fields = config_type.model_fields
    for name in sorted(settings, key=list(fields).index):
        section, value = section_of(fields[name].annotation), settings[name]
        if section is not None and isinstance(value, dict):
            yield f"{name}:"
            yield from (f"  {line}" for line in _lines(section, value))
        else:
            yield from _comment(fields[name])
            yield from _value(name, value)


def _defaults(config_type: type[BaseModel], offered: Collection[str], prefix: str) -> Settings:
    """The defaults of settings that are named by their paths."""
    found: Settings = {}
    for name, field in config_type.model_fields.items():
        section = section_of(field.annotation)
        if section is None and prefix + name in offered:
            found[name] = _default(field)
        elif section is not None and (inner := _defaults(section, offered, f"{prefix}{name}.")):
            found[name] = inner
    return found


def _comment(field: FieldInfo) -> Iterator[str]:
    told = " ".join((field.description or "").split())
    for line in textwrap.wrap(told, WIDTH):
        yield f"# {line}"


def _value(name: str, value: Any) -> Iterator[str]:
    flow = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True,
                          width=1000)  # fmt: skip
    yield f"{name}: {flow.removesuffix('...' + chr(10)).rstrip(chr(10))}"


def _default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True, validated_data={})
    return list(default) if isinstance(default, tuple) else default
