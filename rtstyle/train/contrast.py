"""Patches that stay recognisable by their place: the contrastive loss of unpaired training.

Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", eq. 4 (PatchNCE).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtstyle.errors import TrainingError
from rtstyle.nets.layers import ConvNorm, Residual

_PATCHES, _TEMPERATURE, _MLP, _LAYERS = 256, 0.07, 256, 4
_ENCODER = ("stem", "down", "encoder", "body")  # names of a net's parts


class PatchContrast:
    """How surely a painted patch is told from the photograph's other patches, by what the encoder
    of the net in training sees there.

    `heads`, one for the picture and one for each layer, are to be learnt along with the net.
    Raises `TrainingError` for a net without an encoder.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer, self._tapped = trainer, _tapped(trainer.net)
        crop = trainer.recipe.crop_at(0)
        features = self._layers(torch.zeros(1, 3, crop, crop, device=trainer.device))
        self.heads = {
            f"head{i}": nn.Sequential(nn.Linear(x.shape[1], _MLP), nn.ReLU(), nn.Linear(_MLP, _MLP))
            for i, x in enumerate(features)
        }

    def __call__(self, painted: Tensor, photo: Tensor, *, flip: bool) -> Tensor:
        """Two (N, 3, H, W), the first painted of the second, or with `flip` of its mirror image
        → (N,), the mean over layers."""
        query = self._layers(painted)
        with torch.no_grad():
            key = self._layers(photo)
        losses = []
        for head, q, k in zip(self.heads.values(), query, key, strict=True):
            q = (q.flip(3) if flip else q).flatten(2).transpose(1, 2)  # (N, h·w, C)
            k = k.flatten(2).transpose(1, 2)
            count = min(_PATCHES, q.shape[1])
            places = torch.from_numpy(
                self._trainer.rng.choice(q.shape[1], count, replace=False)
            ).to(q.device)
            q, k = (F.normalize(head(x[:, places]), dim=2) for x in (q, k))
            logits = q @ k.detach().transpose(1, 2) / _TEMPERATURE  # (N, P, P)
            right = torch.arange(count, device=q.device).expand(len(q), -1)
            losses.append(F.cross_entropy(logits.transpose(1, 2), right, reduction="none").mean(1))
        return torch.stack(losses).mean(0)

    def _layers(self, x: Tensor) -> list[Tensor]:
        """The picture and what its way through the encoder leaves behind: (N, C, h, w) each."""
        with _outputs(self._tapped) as seen:
            self._trainer.paint(x)
        return [x, *(y.float() for y in seen)]


def _tapped(net: nn.Module) -> list[nn.Module]:
    """The blocks of the encoder whose outputs are compared: at most four, evenly chosen."""
    blocks: dict[str, nn.Module] = {}
    for name, module in net.named_modules():
        is_inner = any(name.startswith(f"{block}.") for block in blocks)
        if isinstance(module, (ConvNorm, Residual)) and not is_inner:
            blocks[name] = module
    encoder = [m for name, m in blocks.items() if name.startswith(_ENCODER)]
    if not encoder:
        raise TrainingError(
            f"{type(net).__name__} has no encoder whose features can be compared; use the net fast "
            "or johnson, or --method cyclegan."
        )
    chosen = np.unique(np.linspace(0, len(encoder) - 1, _LAYERS).round().astype(int))
    return [encoder[i] for i in chosen]


@contextmanager
def _outputs(modules: list[nn.Module]) -> Iterator[list[Tensor]]:
    """What the modules give while pictures pass them."""
    seen: list[Tensor] = []
    hooks = [m.register_forward_hook(lambda *args: seen.append(args[2])) for m in modules]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
