"""Settings that the rest of the settings leave without use: they are refused, not passed over."""

from collections.abc import Iterable

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def changed(settings: BaseModel, names: Iterable[str] = ()) -> list[str]:
    """Which of the fields `names`, or of all, are not at their defaults."""
    fields = type(settings).model_fields
    return [name for name in names or fields if getattr(settings, name) != _default(fields[name])]


def require_unset(settings: BaseModel, names: Iterable[str], why: str) -> None:
    """Raises ValueError for the first of the fields `names` that is not at its default."""
    for name in changed(settings, names):
        raise ValueError(f"{name} is not used {why}: leave it out")


def _default(field: FieldInfo) -> object:
    return field.get_default(call_default_factory=True)
