"""A look at the whole photograph, which tells norms how to paint this one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.statistics import statistics


class Look(nn.Module):
    """Two small layers from the statistics of early channels, and the style, to hints for norms.

    An instance norm forgets how bright and how busy a photograph was, and a net with the same
    scales and shifts for all misses the painting's statistics on each in another way. (Dynamic
    instance normalisation, Jing et al. 2020, learns them from the style; this, from the content.)

    Pictures of c channels in all (N, …, H, W) and (N, S) if there are styles → (N, hints).
    """

    def __init__(self, channels: int, *, styles: int, hints: int) -> None:
        super().__init__()
        self.styles = styles
        self.first = nn.Linear(2 * channels, 2 * hints)
        self.weight = nn.Parameter(torch.zeros(styles, 2 * hints)) if styles else None
        self.second = nn.Linear(2 * hints, hints)

    def forward(self, *seen: Tensor, style: Tensor | None) -> Tensor:
        parts = [statistics(x) for x in seen]
        told = [value for mean, deviation in parts for value in (mean, deviation.log())]
        hidden = self.first(torch.cat(told, 1))
        if self.weight is not None and style is not None:
            hidden = hidden + style.float() @ self.weight.float()
        hints: Tensor = F.relu(self.second(F.relu(hidden)))
        return hints
