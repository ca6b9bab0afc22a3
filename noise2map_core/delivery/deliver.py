"""Delivering an area's events to its targets, once each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import geopandas as gpd

from noise2map_core.alerts.tables import ALERTS, HISTORY, REVISIONS, read_alerts, read_history
from noise2map_core.alerts.verdicts import VERDICTS, read_verdicts
from noise2map_core.delivery.events import Event, events_of, told_events
from noise2map_core.delivery.feeds import write_feeds
from noise2map_core.delivery.forms import body_of
from noise2map_core.delivery.mail import login_of, mail_of, send_mail
from noise2map_core.delivery.messages import Message, compose
from noise2map_core.delivery.outbox import Outbox, outbox_path, read_outbox, write_outbox
from noise2map_core.delivery.posting import address_in, post
from noise2map_core.delivery.sending import Attempted, attempt
from noise2map_core.settings.delivery import DeliveryConfig, MailTarget, Target


@dataclass
class Delivered:
    """What became of an area's messages."""

    lines: list[str] = field(default_factory=list)
    """For people."""
    waiting: int = 0
    """Events that a target could not be told of; they stay in the outbox."""


@dataclass(frozen=True)
class _Known:
    """What there is to tell from."""

    area: str
    alerts: gpd.GeoDataFrame
    events: list[Event]
    rejected: frozenset[str]
    alarms: tuple[str, ...]


def require_targets(config: DeliveryConfig) -> None:
    """Raise ConfigError unless the environment holds what the targets name."""
    for name, target in config.targets.items():
        if isinstance(target, MailTarget):
            login_of(target)
        else:
            address_in(target.url_variable, _setting(name))


def deliver(
    area: str, folder: Path, config: DeliveryConfig, alarms: Sequence[str] = (),
    now: datetime | None = None,
) -> Delivered:  # fmt: skip
    """Tell every target what it has not heard of the alerts in `folder`, and bring the feeds up to
    date.

    `alarms` stand at the top of the messages. To be called at the end of every night: a message
    that could not be delivered, or had to wait, is tried then. Raises OutputError for tables or an
    outbox that cannot be read.
    """
    told = Delivered()
    if not (folder / HISTORY).exists():
        return told
    known = _known(area, folder, alarms)
    if config.feeds:
        shown = told_events(known.events, config.events, {}, known.rejected)
        write_feeds(folder, area, known.alerts, shown)
    for name, target in config.targets.items():
        path = outbox_path(folder, name)
        _Errand(name, target, path, config, now or datetime.now(UTC), told).tell(known)
    return told


def _known(area: str, folder: Path, alarms: Sequence[str]) -> _Known:
    alerts = read_alerts(folder / ALERTS)
    tables = [read_history(folder / HISTORY)]
    if (folder / REVISIONS).exists():
        tables.append(read_history(folder / REVISIONS))
    return _Known(area, alerts, events_of(*tables), _rejected(folder, alerts), tuple(alarms))


def _rejected(folder: Path, alerts: gpd.GeoDataFrame) -> frozenset[str]:
    """Objects that are rejected by what was said of them or of what they came from; of those that
    are no more, by what was said of them."""
    verdicts = read_verdicts(folder / VERDICTS)
    said = verdicts.loc[verdicts["verdict"] == "rejected", "object_id"]
    now = alerts.loc[alerts["status"] == "rejected", "object_id"]
    return frozenset(now) | (frozenset(said) - frozenset(alerts["object_id"]))


def waiting_events(
    known: _Known, box: Outbox, config: DeliveryConfig, now: datetime
) -> list[Event]:
    """Events that a target is to be told of now: those it has not heard of, unless area or object
    have to be quiet yet."""
    quiet, last = timedelta(hours=config.quiet_hours), box.told_at
    if last is not None and now < last + quiet:
        return []
    quiet = timedelta(hours=config.object_quiet_hours)
    resting = {name for name, when in box.objects().items() if now < when + quiet}
    return [
        event
        for event in told_events(known.events, config.events, box.heard(), known.rejected)
        if event.key(known.area) not in box.told and event.object_id not in resting
    ]


@dataclass(frozen=True)
class _Errand:
    """Telling one target."""

    name: str
    target: Target
    path: Path
    """Of its outbox."""
    config: DeliveryConfig
    now: datetime
    told: Delivered
    """What is said of it is added here."""

    def tell(self, known: _Known) -> None:
        """First what is on its way already, then what is new."""
        box = read_outbox(self.path)
        if box.message is not None and not box.refused:
            box = self._send(box, box.message)
            if box.message is not None:
                return
        if events := waiting_events(known, box, self.config, self.now):
            message = compose(known.area, events, known.alerts, known.alarms, self.now)
            self._send(box, message)

    def _send(self, box: Outbox, message: Message) -> Outbox:
        """Write the message down, send it, tick it off."""
        box = box.sending(message)
        write_outbox(self.path, box)
        done = self._attempted(message)
        box = box.after(done.taken, done.sure, self.now)
        write_outbox(self.path, box)
        self._note(done, len(message.keys))
        return box

    def _attempted(self, message: Message) -> Attempted:
        target, timeout_s = self.target, self.config.timeout_s
        if isinstance(target, MailTarget):
            send = partial(send_mail, mail_of(message, target), target, timeout_s)
        else:
            address = address_in(target.url_variable, _setting(self.name))
            send = partial(post, address, body_of(target.kind, message), message.id, timeout_s)
        return attempt(send, self.config.attempts)

    def _note(self, done: Attempted, number: int) -> None:
        events = f"{number:,} event{'' if number == 1 else 's'}"
        if done.taken:
            said = f": {done.said}" if done.said else ""
            self.told.lines.append(f"{self.name} was told of {events}{said}")
            return
        self.told.waiting += number
        self.told.lines.append(
            f"warning: {self.name} was not told of {events} ({done.said}; attempts: "
            f"{done.attempts}). They wait in {self.path}, and the next night tries again."
        )


def _setting(name: str) -> str:
    return f"delivery.targets.{name}.url_variable"
