"""Settings of delivery: who is told of which events of an area, by which way, how often."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from noise2map_core.settings.numbers import NonNegativeFloat, PositiveFloat, PositiveInt
from noise2map_core.settings.unused import require_unset

EventName = Literal[
    "opened", "grew", "confirmed", "merged", "split", "downgraded", "ended", "rejected", "withdrawn"
]
HERALDS: tuple[EventName, ...] = ("opened", "confirmed")
"""Events that can be the first that is heard of an object. The others are told of objects only that
were told of: nobody asks what became of what he never heard of."""

TARGET_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""What a file of the outbox is called after."""
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class WebhookTarget(_Section):
    """An address that takes messages by HTTP."""

    kind: Literal["slack", "discord", "teams", "json"]
    """Form of a message: that of an incoming webhook of Slack or Discord, of a workflow of Teams
    (an adaptive card), or plain JSON with all that is known."""

    url_variable: str
    """Variable of the environment that holds the address. Not the address itself: it is a key."""


class MailTarget(_Section):
    """Recipients of e-mail."""

    kind: Literal["mail"]
    """By SMTP."""

    host: str = Field(min_length=1)
    """The mail server."""

    port: Annotated[int, Field(gt=0, lt=65536)] | None = None
    """None: 587 with STARTTLS, 465 with TLS, else 25."""

    security: Literal["starttls", "tls", "none"] = "starttls"
    """starttls: refused where the server does not offer it. tls: from the first byte. none: nothing
    is encrypted, and no login is sent."""

    sender: str
    """Address that messages come from."""

    recipients: tuple[str, ...] = Field(min_length=1)
    """Addresses that they go to."""

    user_variable: str | None = None
    """Variable of the environment that holds the user's name. None: no login."""

    password_variable: str | None = None
    """Variable of the environment that holds the password."""

    @field_validator("sender", "recipients")
    @classmethod
    def _are_addresses(cls, found: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for one in (found,) if isinstance(found, str) else found:
            if not _ADDRESS.fullmatch(one):
                raise ValueError(f'{one!r} is no address; write one as "name@example.org"')
        return found

    @model_validator(mode="after")
    def _login_is_whole(self) -> "MailTarget":
        if (self.user_variable is None) != (self.password_variable is None):
            raise ValueError("user_variable and password_variable go together: set both or none")
        if self.security == "none":
            require_unset(
                self, ("user_variable", "password_variable"), "where nothing is encrypted"
            )
        return self


Target = Annotated[WebhookTarget | MailTarget, Field(discriminator="kind")]


class DeliveryConfig(_Section):
    """Who is told of the events of an area. Needs `alerts`."""

    targets: dict[str, Target] = Field(default_factory=dict)
    """Who is told, by names of your own: `{office: {kind: slack, url_variable: SLACK_URL}}`. What
    a target was told is kept under its name."""

    events: tuple[EventName, ...] = Field(
        default=("confirmed", "grew", "merged", "split", "downgraded", "ended", "withdrawn"),
        min_length=1,
    )
    """Which events are told. A single look that shows change is mostly an artefact, so `opened` is
    not among them by default: the first that is heard of an object is that it is confirmed. Then
    comes what changes what was said. `rejected` is left out: who rejects an object knows it. One of
    opened and confirmed has to be there."""

    quiet_hours: NonNegativeFloat = 0.0
    """At least so long after a message on the area, its next events wait; they come in one message
    then."""

    object_quiet_hours: NonNegativeFloat = 0.0
    """The same for messages on one object; events of others do not wait for it."""

    attempts: PositiveInt = 3
    """Tries in all of a message in one night, with growing pauses. What cannot be delivered stays
    in the outbox, and is tried in the next night."""

    timeout_s: PositiveFloat = Field(default=10.0, le=600.0)
    """How long an answer is waited for."""

    feeds: bool = True
    """Whether `alerts/alerts.geojson` and `alerts/alerts.atom` are kept up to date."""

    @field_validator("targets")
    @classmethod
    def _plain_names(cls, targets: dict[str, Target]) -> dict[str, Target]:
        for name in targets:
            if not re.fullmatch(TARGET_NAME, name):
                raise ValueError(
                    f"a target's name is made of letters, digits, - and _: not {name!r}"
                )
        return targets

    @model_validator(mode="after")
    def _something_is_first(self) -> "DeliveryConfig":
        if not set(HERALDS) & set(self.events):
            raise ValueError("events need confirmed or opened: the others follow one of these")
        if not self.targets:
            unused = ("events", "quiet_hours", "object_quiet_hours", "attempts", "timeout_s")
            require_unset(self, unused, "without targets")
        return self
