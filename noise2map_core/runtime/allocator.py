"""The C library's memory allocator, set for feature maps of many megabytes."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 2**30


def keep_freed_memory() -> bool:
    """Let this process keep freed blocks for the next feature map; False where that is unknown.

    By default glibc returns blocks beyond 32 MiB to the system at once, and the system clears each
    page again at its next use, which costs as much as the layer itself when it is cheap. The
    process's memory then stays at its peak. Other C libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # -1: nothing is trimmed.
    thresholds = ((_M_MMAP_THRESHOLD, _LARGEST_BLOCK), (_M_TRIM_THRESHOLD, -1))
    return all([mallopt(name, value) == 1 for name, value in thresholds])
