"""A door in front of the testing server: a key for everything, signatures for rasters."""

import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from urllib.parse import parse_qs, quote

from noise2map_core.testing.stac_api import Answer

TOKENS = "/api/sas/v1/token"
"""Where signatures are given, as Planetary Computer does: TOKENS/account/container."""


@dataclass
class Guard:
    """Lets in those with the header `name: key`; `.tif` files ask for a signature instead."""

    key: str
    name: str = "X-Api-Key"
    life_s: float = 3600.0
    """How long a signature holds."""
    signed: tuple[str, ...] = (".tif",)
    """Ends of paths that need a signature."""
    issued: dict[str, float] = field(default_factory=dict)
    """Signatures so far, and when each ends (seconds)."""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count, repr=False)

    def admits(self, path: str, query: str, headers: Message) -> bool:
        """True for who may come in."""
        if not (self.signed and path.endswith(self.signed)):
            return headers.get(self.name) == self.key
        signature = parse_qs(query).get("sig", [""])[0]
        return self.issued.get(signature, 0.0) > time.time()

    def token(self) -> Answer:
        """A new signature; it holds the key, so that whoever searches for it finds both."""
        signature = f"{self.key}/{next(self._numbers)}+="
        end = self.issued[signature] = time.time() + self.life_s
        expiry = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        token = f"sv=2021&se={expiry}&sig={quote(signature, safe='')}"
        return Answer.json({"msft:expiry": expiry, "token": token})
