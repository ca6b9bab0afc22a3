"""What can go wrong, each with the exit code that the command ends with.

A message names the thing (area, item, tile, path) and the way out, in one line, and no secret.
"""

from noise2map_core.redact import redacted


class Noise2MapError(Exception):
    """Base of all errors that a user can act on; exit code 1, failed."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(message))


class ConfigError(Noise2MapError):
    """A setting, flag, area of interest or date range that cannot be used."""

    exit_code = 2


class CatalogError(Noise2MapError):
    """A catalogue that cannot be reached or read, or a search that matches nothing usable."""

    exit_code = 2


class NoImageryError(CatalogError):
    """A catalogue that shows the area, but not in the dates that were asked for."""


class AssetReadError(Noise2MapError):
    """Pixels that cannot be read: the file is missing, truncated, or not what the item says."""

    exit_code = 2

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing
        """True if the file is not there."""


class PairRejectedError(Noise2MapError):
    """Two dates that cannot be compared, by the limits that were set; the numbers are named."""

    exit_code = 2


class ChipStoreError(Noise2MapError):
    """A chip store that is missing, incomplete, of another format, or unfit for what was asked."""

    exit_code = 2


class CheckpointError(Noise2MapError):
    """A checkpoint that cannot be loaded, or does not fit the imagery."""

    exit_code = 2


class OutputError(Noise2MapError):
    """An output that cannot be written: no space, no permission."""


class OutputMismatchError(OutputError):
    """An existing output of another grid, class table or format; nothing was touched."""

    exit_code = 2


class IncompleteRegionError(Noise2MapError):
    """Tiles failed for good; what is done is kept, and a rerun tries the rest."""

    exit_code = 3


class FailedAreasError(Noise2MapError):
    """Some areas of a night failed; the others are done, and the next night tries these again."""

    exit_code = 3


class OutputHeldError(Noise2MapError):
    """Another run holds the lease of this output."""

    exit_code = 4
