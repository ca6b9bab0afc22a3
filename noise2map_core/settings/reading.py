"""Settings: what an application's config class asks for, from a YAML file and from flags.

A setting is named by its path in the config, with dots: `search.catalog`. The YAML comes first,
then the flags; pydantic judges the sum of both once, so that either may hold what is required.
"""

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from noise2map_core.runtime.documents import read_text
from noise2map_core.runtime.errors import ConfigError, explained

Settings = dict[str, Any]
"""Nested settings by name, as in a YAML file."""

MAX_VALUES = 100_000
"""Of a YAML document, its aliases written out."""

ConfigT = TypeVar("ConfigT", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, and 2000-03-01 the text that a STAC search wants.

    A key that stands twice is refused: one of the two values would not be used.
    """

    def compose_mapping_node(self, anchor: Any) -> Any:
        """A mapping as it is written, before merges (`<<`) add to it."""
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        names = [key.value for key in keys if key.tag != "tag:yaml.org,2002:merge"]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.YAMLError(
                f"{twice[:80]!r} stands twice from line {node.start_mark.line + 1} on"
            )
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of a config class."""

    path: str
    """Names with dots, from the root: "search.catalog"."""
    field: FieldInfo


def parse_yaml(text: str) -> Any:
    """The value of YAML text. Raises yaml.YAMLError."""
    try:
        loaded = yaml.load(text, Loader=_Loader)
        _require_modest(loaded)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    return loaded


def _require_modest(loaded: Any) -> None:
    """Raises yaml.YAMLError for aliases that make much of little, or hold themselves."""
    sizes: dict[int, int | None] = {}

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = None  # until it is known
            parts = value.values() if isinstance(value, dict) else value
            sizes[id(value)] = 1 + sum(map(size, parts))
        known = sizes[id(value)]
        if known is None or known > MAX_VALUES:
            raise yaml.YAMLError("its aliases go round in circles, or multiply without end")
        return known

    size(loaded)


def read_settings(path: Path) -> Settings:
    """The settings in a YAML file. Raises ConfigError if it is missing or not a mapping."""
    try:
        loaded = parse_yaml(read_text(path))
    except FileNotFoundError:
        raise ConfigError(f"config {path} does not exist.") from None
    except OSError as error:
        raise ConfigError(f"config {path} cannot be read: {explained(error)}") from error
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"config {path} is not readable YAML: {reason}. Mend it.") from error
    if not isinstance(loaded or {}, dict):
        raise ConfigError(f"config {path} holds no settings: write `name: value` lines.")
    return loaded or {}


def build_config(config_type: type[ConfigT], settings: Settings, flags: Settings) -> ConfigT:
    """The config of YAML settings overridden by flags.

    Raises ConfigError naming every setting that is missing, or the first that is unknown or wrong.
    """
    try:
        return config_type.model_validate(merged(settings, flags))
    except ValidationError as error:
        raise ConfigError(_explained(config_type, error.errors(include_url=False))) from None


def iter_settings(model: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """The leaves of a config class, in order."""
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            yield Setting(prefix + name, field)
        else:
            yield from iter_settings(section, f"{prefix}{name}.")


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested settings by their paths (`training.epochs`), as text."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The config class of a section; None for a leaf. A choice on `kind` has all its settings."""
    variants = _variants(annotation)
    return _joined(variants) if len(variants) > 1 else next(iter(variants), None)


def _variants(annotation: Any) -> tuple[type[BaseModel], ...]:
    """The config classes of a section: several for a choice, none for a leaf."""
    union = get_origin(annotation) in (Union, UnionType)
    parts = [
        part for part in (get_args(annotation) if union else (annotation,)) if part is not NoneType
    ]
    models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
    return tuple(models) if len(models) == len(parts) else ()


@cache
def _joined(variants: tuple[type[BaseModel], ...]) -> type[BaseModel]:
    """A class with the settings of all variants, none of them required: for names and help only."""
    names = dict.fromkeys(name for variant in variants for name in variant.model_fields)
    fields: dict[str, Any] = {name: _joined_field(variants, name) for name in names}
    return create_model("Choice", **fields)


def _joined_field(variants: tuple[type[BaseModel], ...], name: str) -> tuple[Any, Any]:
    having = [variant for variant in variants if name in variant.model_fields]
    found = [variant.model_fields[name] for variant in having]
    if name == "kind":
        choices = tuple(choice for field in found for choice in get_args(field.annotation))
        return Literal[choices], Field(default=None, description="Which of these it is.")
    annotation: Any = Union.__getitem__(tuple(field.annotation for field in found))
    default = None if found[0].is_required() else found[0].default
    told = _told_of_kinds(having, name)
    return annotation, Field(default=default, description=told, alias=found[0].alias)


def _told_of_kinds(having: list[type[BaseModel]], name: str) -> str:
    """What a setting is, for each of the kinds that say it in their own words."""
    kinds: dict[str, list[str]] = {}
    for variant in having:
        said = variant.model_fields[name].description or ""
        kinds.setdefault(said, []).extend(get_args(variant.model_fields["kind"].annotation))
    return " ".join(f"({' or '.join(found)}) {said}" for said, found in kinds.items())


def merged(below: Settings, above: Settings) -> Settings:
    """Nested settings, those above before those below; another `kind` begins anew."""
    found = dict(below)
    for name, value in above.items():
        under = found.get(name)
        if isinstance(value, dict) and isinstance(under, dict) and not _other_kind(value, under):
            found[name] = merged(under, value)
        else:
            found[name] = value
    return found


def _other_kind(above: Settings, below: Settings) -> bool:
    """Another choice, for which the settings below do not count."""
    return "kind" in above and above["kind"] != below.get("kind")


def _explained(config_type: type[BaseModel], errors: list[ErrorDetails]) -> str:
    missing = [path for path in map(partial(_absent, config_type), errors) if path]
    if len(missing) == len(errors):
        return _missing(config_type, missing)
    error = next(error for error in errors if _absent(config_type, error) is None)
    path = _path(config_type, error)
    if error["type"] == "extra_forbidden":
        return _of_other_kinds(config_type, path, error) or _unknown(config_type, path)
    message, given = error["msg"].removeprefix("Value error, "), error["input"]
    # Of a section, what is wrong is said: the rest of it may hold what nobody is to see.
    got = "" if isinstance(given, Mapping) else f" (got {reprlib.repr(given)})"
    return f"{_known_part(config_type, path)}: {message}{got}."


def _absent(config_type: type[BaseModel], error: ErrorDetails) -> str | None:
    """The path of a setting or of a section that should be there, if that is what is wrong."""
    path = _path(config_type, error)
    if error["type"] == "union_tag_not_found":
        return f"{path}.kind"
    return path if error["type"] == "missing" and _known_part(config_type, path) == path else None


def _missing(config_type: type[BaseModel], paths: list[str]) -> str:
    """Names what is missing, of a missing section its own required settings."""
    names = [
        setting.path
        for setting in iter_settings(config_type)
        if setting.path in paths
        or (setting.field.is_required() and setting.path.startswith(tuple(f"{p}." for p in paths)))
    ] or paths
    flags = ", ".join(map(flag_of, names))
    plural = "s" if len(names) > 1 else ""
    return f"missing setting{plural} {', '.join(names)}: set in the YAML file or by {flags}."


def flag_of(path: str) -> str:
    """How a setting is shown as a flag: `--grid.tile-px`."""
    return f"--{path.replace('_', '-')}"


def moved(config_type: type[BaseModel], path: str) -> str | None:
    """What a config class says of a setting that is no more, or of one by its earlier name, which
    is the alias of the field: what to do in its place."""
    if said := getattr(config_type, "moved", {}).get(path):
        return str(said)
    renamed = _renamed(config_type, path)
    return f"It is {renamed} now ({flag_of(renamed)})." if renamed else None


def _renamed(config_type: type[BaseModel], path: str) -> str | None:
    """The path of a setting of which at least one name is an earlier one."""
    if "." not in path:  # a flag without its section
        every = iter_settings(config_type)
        return next((one.path for one in every if one.field.alias == path), None)
    names = list[str]()
    section: type[BaseModel] | None = config_type
    for part in path.split("."):
        fields = section.model_fields if section is not None else {}
        found = next((name for name, field in fields.items() if part in (name, field.alias)), None)
        if found is None:
            return None
        names.append(found)
        section = section_of(fields[found].annotation)
    return ".".join(names) if section is None and ".".join(names) != path else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one that is likely meant: with this last part, or of nearly the same spelling."""
    paths, last = list(known), name.split(".")[-1].lstrip("-")
    ends = {path.split(".")[-1].lstrip("-"): path for path in reversed(paths)}
    near = [ends[last]] if last in ends else difflib.get_close_matches(name, paths, n=1)
    near = near or [ends[end] for end in difflib.get_close_matches(last, ends, n=1)]
    return near[0] if near else None


def _unknown(config_type: type[BaseModel], path: str) -> str:
    if said := moved(config_type, path):
        return f"unknown setting {path}. {said}"
    near = nearest(path, (setting.path for setting in iter_settings(config_type)))
    return f"unknown setting {path}." + (f" Did you mean {near}?" if near else " See --help.")


def _of_other_kinds(config_type: type[BaseModel], path: str, error: ErrorDetails) -> str | None:
    """What to say of a setting that is one of other kinds of its section; None: it is of none."""
    section, _, name = path.rpartition(".")
    variants = _variants(_annotation(config_type, section)) if section else ()
    kinds = {
        kind: variant.model_fields
        for variant in variants if "kind" in variant.model_fields
        for kind in get_args(variant.model_fields["kind"].annotation)
    }  # fmt: skip
    having = [kind for kind, fields in kinds.items() if name in fields]
    chosen = next((part for part in error["loc"] if part in kinds), None)
    if not having or chosen is None:
        return None
    return (
        f"{path} is no setting of {section}.kind {chosen}, only of {', '.join(having)}: leave it "
        "out, or set another kind."
    )


def _annotation(config_type: type[BaseModel], path: str) -> Any:
    """The type of a section; None if there is none."""
    section: type[BaseModel] | None = config_type
    annotation: Any = None
    for part in path.split("."):
        field = section.model_fields.get(part) if section is not None else None
        if field is None:
            return None
        annotation, section = field.annotation, section_of(field.annotation)
    return annotation


def _path(config_type: type[BaseModel], error: ErrorDetails) -> str:
    """Where an error is, without the tag that pydantic puts in for the chosen kind."""
    parts, location = [], list(error["loc"])
    variants: tuple[type[BaseModel], ...] = (config_type,)
    while location:
        if len(variants) > 1:
            kind = location.pop(0)
            variants = tuple(
                v for v in variants if kind in get_args(v.model_fields["kind"].annotation)
            )
            continue
        name = str(location.pop(0))
        parts.append(name)
        field = variants[0].model_fields.get(name) if variants else None
        variants = _variants(field.annotation) if field else ()
    return ".".join(parts)


def _known_part(config_type: type[BaseModel], path: str) -> str:
    """The setting or section that a path leads to or into."""
    leaves = {setting.path for setting in iter_settings(config_type)}
    known = leaves | {".".join(leaf.split(".")[:stop]) for leaf in leaves for stop in (1, 2, 3)}
    parts = path.split(".")
    found = (".".join(parts[:stop]) for stop in range(len(parts), 0, -1))
    return next((name for name in found if name in known), path or config_type.__name__)
