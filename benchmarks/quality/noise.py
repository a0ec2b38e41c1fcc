"""Noise gain: how much of a webcam's tremble a net passes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NOISE = 0.02  # standard deviation, of values in [0, 1]


def tremble(photo: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The photograph (H, W, 3) with sensor noise."""
    noisy = np.rint(photo + rng.normal(0, NOISE * 255, photo.shape))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def noise_gain(
    photo: NDArray[np.uint8],
    trembling: NDArray[np.uint8],
    painted: NDArray[np.uint8],
    painted_trembling: NDArray[np.uint8],
) -> float:
    """‖S(x + n) − S(x)‖ / ‖n‖; all (H, W, 3)."""
    change = np.linalg.norm(painted_trembling.astype(float) - painted)
    return float(change / np.linalg.norm(trembling.astype(float) - photo))
