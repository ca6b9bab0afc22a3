"""The outbox: what a target was told of an area, and the message that is on its way.

A message is written down before it is sent and ticked off afterwards. What is waiting is not
written: it is what the history has and the outbox has not, so a run that was killed in between
loses no event and tells none twice. Only where a run dies, or an answer is lost, while a message is
on its way is it sent again, as the same message under the same id.
"""

from datetime import date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from noise2map_core.delivery.messages import Message
from noise2map_core.runtime.atomic import write_atomically
from noise2map_core.runtime.errors import OutputError

FORMAT_VERSION = 1


class Outbox(BaseModel):
    """Where a target stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    told: dict[str, datetime] = {}
    """Keys of events, and when the message was taken that told of them."""
    message: Message | None = None
    """On its way: not known to be taken."""
    refused: bool = False
    """True: `message` is known not to be taken; the next one takes its place, and its events."""

    @property
    def told_at(self) -> datetime | None:
        """When the newest message was taken."""
        return max(self.told.values(), default=None)

    def objects(self) -> dict[str, datetime]:
        """Objects that were told of, and when at last."""
        found: dict[str, datetime] = {}
        for key, when in self.told.items():
            name, _ = _about(key)
            found[name] = max(when, found.get(name, when))
        return found

    def heard(self) -> dict[str, date]:
        """Objects that were told of, and the day of the earliest event that was told."""
        found: dict[str, date] = {}
        for name, day in map(_about, self.told):
            found[name] = min(day, found.get(name, day))
        return found

    def sending(self, message: Message) -> "Outbox":
        """With a message that is about to be sent."""
        return self.model_copy(update={"message": message, "refused": False})

    def after(self, taken: bool, sure: bool, when: datetime) -> "Outbox":
        """What is known when the message was sent."""
        assert self.message is not None
        if not taken:
            return self.model_copy(update={"refused": sure})
        told = self.told | dict.fromkeys(self.message.keys, when)
        return self.model_copy(update={"told": told, "message": None, "refused": False})


def _about(key: str) -> tuple[str, date]:
    """Object and day of an event's key; ids of objects may hold anything."""
    name, day, _ = key.split("/", 1)[1].rsplit("/", 2)
    return name, date.fromisoformat(day)


def outbox_path(alerts: Path, target: str) -> Path:
    """The file of a target in an area's folder of alerts."""
    return alerts / "outbox" / f"{target}.json"


def read_outbox(path: Path) -> Outbox:
    """The outbox of a target; an empty one before its first message. Raises OutputError."""
    try:
        box = Outbox.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Outbox()
    except ValidationError as error:
        raise OutputError(
            f"outbox {path} is damaged: {error.errors()[0]['msg']}. Restore it, or delete it to "
            "have all events told again."
        ) from None
    if box.format_version != FORMAT_VERSION:
        raise OutputError(
            f"outbox {path} has format version {box.format_version}; this version reads "
            f"{FORMAT_VERSION}. Use the noise2map that wrote it."
        )
    return box


def write_outbox(path: Path, box: Outbox) -> None:
    """Write the outbox, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, box.model_dump_json(indent=1) + "\n")
