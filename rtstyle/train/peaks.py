"""Against droplets: bright specks that a net makes to steer its own instance norms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.nets.layers import InstanceNorm, trainable_instance_norm

LIMIT = 5.0  # deviations; droplets reach 17
_ENCODER = 2  # norms that see edges and lights of the photograph, which stand out rightly


class Peaks:
    """Watches the instance norms of a net while it paints.

    A spike in one place raises a channel's deviation and so lowers its values everywhere else,
    which a net learns to use; what remains is a speck that belongs to no style (Karras et al. 2020,
    "Analyzing and improving the image quality of StyleGAN", §2). Instead of other norms, which
    would cost at run time, training holds spikes down.
    """

    def __init__(self, net: nn.Module) -> None:
        norms = [module for module in net.modules() if isinstance(module, InstanceNorm)]
        self._norms = norms[_ENCODER:]
        self._seen: list[Tensor] = []

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Note the spikes of everything painted inside."""
        self._seen = []

        def note(module: InstanceNorm, inputs: tuple[Any, ...], output: Tensor) -> None:
            normed = trainable_instance_norm(inputs[0], eps=module.eps)
            highest = F.adaptive_max_pool2d(normed.abs(), 1).flatten(1)  # far faster than amax
            over = F.relu(highest.float() - LIMIT)  # (N, C)
            self._seen.append(over.square().mean(1))

        hooks = [norm.register_forward_hook(note) for norm in self._norms]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def loss(self) -> Tensor:
        """The squared excess over `LIMIT` of every channel's highest value, mean over channels,
        summed over norms → (N,). Of a net without instance norms 0."""
        return torch.stack(self._seen).sum(0) if self._seen else torch.zeros(1)
