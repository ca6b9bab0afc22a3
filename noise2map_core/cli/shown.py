"""How settings look in help: what may be given for them, and what is taken if nothing is."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def metavar(annotation: Any) -> str | None:
    """What may be given, in a word: PATH, INT, {auto,on,off}; None for a switch, which takes
    nothing. The word None, which may be given wherever it is the default, is not shown."""
    return None if annotation is bool else _metavar(annotation)


def _metavar(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _metavar(parts[0])
    if origin is Literal:
        return "{" + ",".join(map(str, parts)) + "}"
    if origin in (Union, UnionType):
        return _either([part for part in parts if part is not NoneType])
    if origin in (tuple, list):
        return _several(parts)
    if origin is dict:
        return "YAML"
    names = {"bool": "{True,False}"}
    return names.get(annotation.__name__, str(annotation.__name__).upper())


def _either(parts: list[Any]) -> str:
    """Of several; the words of all choices stand together."""
    choices = [part for part in parts if get_origin(part) is Literal]
    words = [Literal[tuple(word for part in choices for word in get_args(part))]] if choices else []
    return "|".join(map(_metavar, [*words, *(part for part in parts if part not in choices)]))


def shown_default(default: Any) -> str:
    """A default as it would be given."""
    if isinstance(default, BaseModel):
        return str(default.model_dump(mode="json", exclude_defaults=True) or "as described")
    if isinstance(default, list | tuple) and all(isinstance(p, str | int | float) for p in default):
        return " ".join(map(str, default)) or "none"
    return str(default) or "none"


def _several(parts: tuple[Any, ...]) -> str:
    if parts[-1] is ...:
        return f"[{_metavar(parts[0])} ...]"
    return " ".join(map(_metavar, parts))
