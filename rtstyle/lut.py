"""Photo filters: a table that maps every colour to another, read from a .cube file or learnt from a
painting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtstyle.errors import InputNotFoundError, MediaError
from rtstyle.files import write_output
from rtstyle.frame import Image

Table = NDArray[np.float32]  # (N, N, N, 3): by red, green, blue; RGB in [0, 1]

SIDE = 33  # of a table that is written
_MAX_SIDE = 129
_BITS = 7  # of each channel that look a colour up: off by half a grey level where a filter is tame


@dataclass(frozen=True, slots=True)
class Lut:
    """A filter ready to use: `colours` has one row for every colour of `_BITS` a channel."""

    colours: NDArray[np.uint8]  # (2^(3·bits), 3)

    def __call__(self, image: Image) -> Image:
        """(H, W, 3) uint8 RGB → the same."""
        r, g, b = (channel >> (8 - _BITS) for channel in np.moveaxis(image, 2, 0))
        index = r.astype(np.int32) << 2 * _BITS
        index |= g.astype(np.int32) << _BITS
        index |= b
        return np.asarray(np.take(self.colours, index, axis=0))


@lru_cache(maxsize=8)
def load_lut(path: str) -> Lut:
    """The filter in a .cube file. Raises `InputNotFoundError` and `MediaError`."""
    return Lut(_at_every_colour(read_cube(Path(path))))


def read_cube(path: Path) -> Table:
    """The table of a 3D .cube file (Adobe/Resolve), whose red runs fastest; a domain other than 0
    to 1 is refused. Raises `InputNotFoundError` and `MediaError`."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no filter {path}; a .cube file is expected.") from None
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}.") from error
    side, rows = 0, []
    try:
        for line in lines:
            word, *values = line.split("#")[0].split() or [""]
            if word == "LUT_3D_SIZE":
                side = int(values[0])
            elif word in ("LUT_1D_SIZE", "DOMAIN_MIN", "DOMAIN_MAX"):
                if word == "LUT_1D_SIZE" or any(float(v) != (word[-1] == "X") for v in values):
                    raise ValueError(f"{line.strip()} is not supported")
            elif word[:1] in "0123456789.-+" and word:
                rows.append([float(value) for value in (word, *values)])
        table = np.array(rows, np.float32)
        if not 2 <= side <= _MAX_SIDE or table.shape != (side**3, 3):
            raise ValueError(f"{len(rows)} colours for a side of {side}")
        if not np.isfinite(table).all():
            raise ValueError("colours that are no numbers")
    except (ValueError, IndexError) as error:
        raise MediaError(
            f"{path} is no filter that can be used ({error}); a .cube file with LUT_3D_SIZE N and "
            "N³ colours from 0 to 1 is expected."
        ) from None
    return table.reshape(side, side, side, 3).transpose(2, 1, 0, 3).clip(0, 1)


def write_cube(table: Table, path: Path, *, title: str, overwrite: bool) -> None:
    """Write a .cube file in one step. Raises `OutputExistsError` and `OutputError`."""
    rows = table.transpose(2, 1, 0, 3).reshape(-1, 3)
    quoted = title.replace('"', "'")
    text = f'TITLE "{quoted}"\nLUT_3D_SIZE {len(table)}\n'
    text += "".join(f"{r:.5f} {g:.5f} {b:.5f}\n" for r, g, b in rows)
    write_output(path, text.encode(), overwrite=overwrite)


def learn(painting: NDArray[np.uint8], photos: NDArray[np.uint8]) -> Table:
    """The filter that gives colours (M, 3) of photographs the mean and covariance of the painting's
    (N, 3): the linear map that moves them least (Pitié & Kokaram 2007, "The linear
    Monge-Kantorovitch linear colour mapping for example-based colour transfer")."""
    (mean, spread), (wanted, wanted_spread) = (_moments(colours) for colours in (photos, painting))
    root = _root(spread)
    inverse = np.linalg.inv(root)
    linear = inverse @ _root(root @ wanted_spread @ root) @ inverse
    axis = np.linspace(0, 1, SIDE)
    colours = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    return np.asarray(((colours - mean) @ linear.T + wanted).clip(0, 1), np.float32)


def _moments(colours: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = colours.reshape(-1, 3) / 255
    return values.mean(0), np.cov(values.T) + 1e-4 * np.eye(3)


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The square root of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(values.clip(0))) @ vectors.T)


def _at_every_colour(table: Table) -> NDArray[np.uint8]:
    """The table interpolated at the colours of `_BITS` a channel, channel after channel."""
    levels = 2**_BITS
    at = (np.arange(levels) + 0.5) * (256 / levels) - 0.5  # the middle of what a level stands for
    place = at / 255 * (len(table) - 1)
    low = np.minimum(place.astype(int), len(table) - 2)
    share = (place - low).astype(np.float32)
    for axis in range(3):
        part = share.reshape([-1 if i == axis else 1 for i in range(4)])
        below, above = table.take(low, axis), table.take(low + 1, axis)
        table = below + (above - below) * part
    return np.asarray((table * 255).round().reshape(-1, 3), np.uint8)
