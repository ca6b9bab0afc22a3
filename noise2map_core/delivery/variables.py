"""Secrets in variables of the environment, whose names stand in the settings."""

import os
import re

from noise2map_core.runtime.errors import ConfigError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def value_of(variable: str, setting: str) -> str:
    """What a variable of the environment holds; empty if it is not set.

    Raises ConfigError for what is no name, without saying what it is: people write the secret
    itself there.
    """
    if not _NAME.fullmatch(variable):
        raise ConfigError(
            f"{setting} is to be the name of a variable of the environment, such as ALERTS_URL, "
            "and not what that holds. Set the variable, and write its name."
        )
    return os.environ.get(variable, "")
