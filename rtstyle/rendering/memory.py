"""Memory of large pictures goes back to the system as soon as it is free.

glibc does so from a size on that it raises, up to 32 MB, with every such block that is freed; then
the pictures of a 4K film are scattered over its heaps, which grow.
"""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE = 8 << 20  # bytes: more than a picture of 1080p has


def return_large_blocks() -> None:
    """Keep that size at 8 MB from now on, in the whole process; nothing without glibc."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
