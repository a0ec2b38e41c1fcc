"""The picture that shows how far a training is: photographs above, their paintings below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtstyle.frame import Image
from rtstyle.nets.contract import Contract, StyleEncoder
from rtstyle.train.data import Photos, resize_short_side

SIDE = 256  # pixels of each picture
N_PHOTOS, N_PAINTINGS = 5, 8


def square(photo: Image, side: int = SIDE) -> Image:
    """The middle of a photograph as (side, side, 3)."""
    photo = resize_short_side(photo, side, enlarge=True)
    y, x = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    return np.ascontiguousarray(photo[y : y + side, x : x + side])


def stylize(
    net: nn.Module, photos: NDArray[np.uint8], style: Tensor | None = None
) -> NDArray[np.uint8]:
    """Paint (N, H, W, 3) uint8 with a torch net, H and W multiples of its stride; `style` is the
    vector (1, S) of all."""
    device = next(net.parameters()).device
    style_input = () if style is None else (style.to(device).expand(len(photos), -1),)
    with torch.inference_mode():
        painted = Contract(net).to(device)(torch.from_numpy(photos).to(device), *style_input)
    return np.asarray(painted.cpu().numpy(), np.uint8)


def preview_sheet(
    net: nn.Module, photos: Photos, paintings: Sequence[Image], *, first: int = 0
) -> Image:
    """Photographs in the first row, then a row for every painting, which stands before it. The
    paintings are the net's styles from number `first` on; of many, some are shown."""
    chosen = np.linspace(0, len(photos) - 1, min(N_PHOTOS, len(photos))).astype(int)
    originals = np.stack([square(photos[int(i)]) for i in chosen])
    rows = [np.concatenate([np.full_like(originals[:1], 255), originals])]
    numbers = np.unique(np.linspace(0, len(paintings) - 1, N_PAINTINGS).astype(int))
    for i in numbers:
        thumbnail = square(paintings[i])[None]
        painted = stylize(net, originals, _style(net, thumbnail, first + int(i)))
        rows.append(np.concatenate([thumbnail, painted]))
    return contact_sheet(rows)


def _style(net: nn.Module, painting: NDArray[np.uint8], number: int) -> Tensor | None:
    """The style vector (1, S) of a painting, of which the net may only need to know the number."""
    if hasattr(net, "encode"):
        device = next(net.parameters()).device
        with torch.inference_mode():
            style: Tensor = StyleEncoder(net)(torch.from_numpy(painting).to(device))
        return style
    size = int(getattr(net, "style_size", 0))
    return torch.eye(size)[number : number + 1] if size else None


def contact_sheet(rows: list[NDArray[np.uint8]]) -> Image:
    """Rows of equally sized pictures, each (N, H, W, 3), as one picture (rows · H, N · W, 3)."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
