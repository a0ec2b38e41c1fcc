"""The picture that shows how far a training is: photographs above, their paintings below."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rtstyle.frame import Image
from rtstyle.nets.contract import Contract
from rtstyle.train.data import resize_short_side

SIDE = 256  # pixels of each picture


def square(photo: Image, side: int = SIDE) -> Image:
    """The middle of a photograph as (side, side, 3)."""
    photo = resize_short_side(photo, side, enlarge=True)
    y, x = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    return np.ascontiguousarray(photo[y : y + side, x : x + side])


def stylize(net: nn.Module, photos: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint (N, H, W, 3) uint8 with a torch net, H and W multiples of its stride."""
    device = next(net.parameters()).device
    with torch.inference_mode():
        painted = Contract(net)(torch.from_numpy(photos).to(device))
    return np.asarray(painted.cpu().numpy(), np.uint8)


def contact_sheet(rows: list[NDArray[np.uint8]]) -> Image:
    """Rows of equally sized pictures, each (N, H, W, 3), as one picture (rows · H, N · W, 3)."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
