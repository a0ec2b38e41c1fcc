"""Style transfer by optimising the picture itself: slow, and the reference for every net.

Gatys et al., "A Neural Algorithm of Artistic Style", 2015.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rtstyle.train.losses import Features, content_loss, style_loss
from rtstyle.train.perceptual import CONTENT_LAYER, PerceptualNet


def paint(
    photo: Tensor,
    style: Features,
    *,
    loss_net: PerceptualNet,
    steps: int = 100,
    style_weight: float = 10.0,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> Tensor:
    """Paint `photo` (1, 3, H, W) float in [0, 1] by L-BFGS, starting from the photograph.

    `style` holds the Gram matrices of the painting. Minimises the relative content loss plus
    `style_weight` times the relative style loss and returns a picture of the same shape, clamped.
    `on_step` gets the number of evaluations done and their loss.
    """
    with torch.no_grad():
        target = loss_net(photo)[CONTENT_LAYER]
    x = photo.clone(memory_format=torch.contiguous_format).requires_grad_(True)
    # Tolerances of zero: pixel gradients of a relative loss are far below the defaults.
    optimizer = torch.optim.LBFGS(
        [x], max_iter=steps, max_eval=steps + 1, history_size=50,
        tolerance_grad=0, tolerance_change=0,
    )  # fmt: skip
    done = 0

    def closure() -> Tensor:
        nonlocal done
        optimizer.zero_grad()
        features = loss_net(x)
        loss = (
            content_loss(features[CONTENT_LAYER], target)
            + style_weight * style_loss(features, style)
        ).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        done += 1
        on_step(done, float(loss.detach()))
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return x.detach().clamp(0, 1)
