"""What an importer gives, and how weights get into a net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rtstyle.errors import ModelError


@dataclass(frozen=True, slots=True)
class Imported:
    """A net that keeps the contract of `rtstyle.nets`, with the architecture's name and origin."""

    net: nn.Module
    architecture: str
    origin: str


def load_weights(net: nn.Module, weights: Mapping[str, NDArray[Any]], *, of: str) -> None:
    """Give `net` the weights by its own names.

    Raises `ModelError` that names what is missing or of another shape.
    """
    wanted = net.state_dict()
    missing = sorted(set(wanted) - set(weights))
    if missing:
        raise ModelError(f"{of}: the weights {', '.join(missing[:5])} are missing.")
    for name, value in wanted.items():
        if tuple(value.shape) != weights[name].shape:
            raise ModelError(
                f"{of}: {name} has the shape {list(weights[name].shape)}, but "
                f"{list(value.shape)} was expected."
            )
        if not np.isfinite(weights[name]).all():
            raise ModelError(f"{of}: {name} holds values that are no numbers.")
    net.load_state_dict(
        {name: torch.from_numpy(np.array(weights[name], np.float32)) for name in wanted}
    )
    net.eval().requires_grad_(False)
