"""Writes HEIC as phones do: tiles, each coded by itself, and a grid in which they lie."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray

_HEVC, _RGB, _INTERLEAVED = 1, 1, 10  # libheif's numbers of a format, a colour space, a channel


class _Error(ctypes.Structure):
    _fields_ = (("code", ctypes.c_int), ("sub", ctypes.c_int), ("message", ctypes.c_char_p))


def write_tiled_heic(path: Path, image: NDArray[np.uint8], *, side: int) -> None:
    """(H, W, 3), both sides multiples of `side`, by the libheif that pillow-heif brings."""
    folder = Path(pillow_heif.__file__).parents[1] / "pillow_heif.libs"
    lib = ctypes.CDLL(str(next(folder.glob("libheif*"))))
    lib.heif_context_alloc.restype = lib.heif_image_get_plane.restype = ctypes.c_void_p

    def call(name: str, *arguments: Any) -> None:
        function = getattr(lib, name)
        function.restype = _Error
        error = function(*arguments)
        assert not error.code, error.message

    context, encoder = ctypes.c_void_p(lib.heif_context_alloc()), ctypes.c_void_p()
    call("heif_context_get_encoder_for_format", context, _HEVC, ctypes.byref(encoder))
    rows, columns = image.shape[0] // side, image.shape[1] // side
    tiles = (ctypes.c_void_p * (rows * columns))()
    for index in range(rows * columns):
        tile, stride = ctypes.c_void_p(), ctypes.c_int()
        call("heif_image_create", side, side, _RGB, _INTERLEAVED, ctypes.byref(tile))
        call("heif_image_add_plane", tile, _INTERLEAVED, side, side, 24)
        address = lib.heif_image_get_plane(tile, _INTERLEAVED, ctypes.byref(stride))
        memory = (ctypes.c_uint8 * (stride.value * side)).from_address(address)
        plane = np.ctypeslib.as_array(memory).reshape(side, stride.value)
        y, x = index // columns * side, index % columns * side
        plane[:, : 3 * side] = image[y : y + side, x : x + side].reshape(side, -1)
        tiles[index] = tile.value
    grid = ctypes.c_uint16(columns), ctypes.c_uint16(rows)
    made = ctypes.byref(ctypes.c_void_p())
    call("heif_context_encode_grid", context, tiles, *grid, encoder, None, made)
    call("heif_context_write_to_file", context, bytes(path))
