"""What can go wrong, each with the exit code that the command ends with.

A message names the thing (area, item, tile, path) and the way out, in one line, and no secret.
"""

import errno
import os

from noise2map_core.runtime.redact import redacted

EXIT_CODES = {
    0: "done",
    1: "failed",
    2: "bad input: one line says what, and the way out",
    3: "incomplete: the listed tiles or areas failed, the rest is kept, a rerun tries them again",
    4: "another run holds the output, or has taken it over",
    5: "all maps are made, and messages on alerts were not delivered: they wait for the next night",
    130: "interrupted; the same command continues",
    143: "terminated; the same command continues",
    141: "nobody reads what it prints any more: `… | head`",
}
"""What a command may end with."""

_WAYS_OUT = {
    errno.ENOSPC: "Free space",
    errno.EDQUOT: "Free space of your quota",
    errno.EACCES: "Have the permissions changed, or use another place",
    errno.EPERM: "Have the permissions changed, or use another place",
    errno.EROFS: "Use a place that can be written",
    errno.ENOENT: "Check the path",
    errno.ENOTDIR: "Check the path: a part of it is a file",
    errno.EISDIR: "Check the path: it is a folder",
    errno.ENAMETOOLONG: "Use a shorter path",
    errno.ELOOP: "Check the links in the path",
    errno.EEXIST: "Use another place, or move away what lies there",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
    errno.ENFILE: "Close programs: the machine has too many open files",
    errno.EFBIG: "Raise the limit of a file's size (ulimit -f), or use another file system",
    errno.EIO: "Check the disk, or the network that it is reached by",
    errno.ESTALE: "Check the network that the disk is reached by",
    errno.ENOTCONN: "Check the network that the disk is reached by",
    errno.ETIMEDOUT: "Check the network that the disk is reached by",
    errno.ENOMEM: "Free memory",
    errno.ETXTBSY: "Wait until the file is no longer in use",
    errno.EBUSY: "Wait until the file is no longer in use",
}
"""What to do about failures of the operating system, which say what happened but not that."""


def explained(error: OSError) -> str:
    """What the operating system says and what to do about it: two sentences, each true.

    Of an error without a number, as some libraries raise, its own text.
    """
    if error.errno is None:
        return " ".join(str(error).split()).rstrip(".") + "."
    told = (error.strerror or os.strerror(error.errno)).strip().rstrip(".")
    file = f": {error.filename}" if error.filename else ""
    way = _WAYS_OUT.get(error.errno)
    return f"{told}{file}." + (f" {way}." if way else "")


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


class TileMemoryError(Noise2MapError):
    """A tile that does not fit into memory; what is done is kept, and others go on."""


class BatchMemoryError(TileMemoryError):
    """A batch that does not fit into a GPU's memory; a smaller one may."""


class ClusterError(Noise2MapError):
    """A Ray cluster that cannot be reached, or not be started here."""


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


class UndeliveredError(Noise2MapError):
    """Messages of a night were not delivered; all else is done, and they wait for the next one."""

    exit_code = 5


class OutputHeldError(Noise2MapError):
    """Another run holds the lease of this output."""

    exit_code = 4


class LeaseLostError(OutputHeldError):
    """This run held the lease and holds it no more; it has stopped, and changes nothing further."""
