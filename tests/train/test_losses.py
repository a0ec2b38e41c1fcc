from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rtstyle.train.losses import content_loss, gram, style_loss, tv_loss


def _features(seed: int = 0, *, shape: tuple[int, ...] = (2, 3, 5, 4)) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) + 0.1


def test_the_gram_matrix_is_the_mean_product_of_channels() -> None:
    x = _features()
    by_hand = torch.zeros(2, 3, 3)
    for n in range(2):
        for i in range(3):
            for j in range(3):
                by_hand[n, i, j] = (x[n, i] * x[n, j]).sum() / (3 * 5 * 4)
    torch.testing.assert_close(gram(x), by_hand)


def test_losses_are_zero_on_the_target_and_relative_elsewhere() -> None:
    x = _features()
    style = {"a": gram(x), "b": gram(2 * x)}
    assert style_loss({"a": x, "b": 2 * x}, style).abs().max() < 1e-10
    assert content_loss(x, x).abs().max() == 0
    # nothing painted at all costs exactly 1 a layer
    nothing = torch.zeros_like(x)
    torch.testing.assert_close(
        style_loss({"a": nothing, "b": nothing}, style), torch.tensor([2.0, 2.0])
    )
    torch.testing.assert_close(content_loss(nothing, x), torch.ones(2))


def test_scaling_features_and_target_changes_no_style_loss() -> None:
    x, y = _features(0), _features(1)
    torch.testing.assert_close(
        style_loss({"a": x}, {"a": gram(y)}), style_loss({"a": 10 * x}, {"a": gram(10 * y)})
    )


def test_total_variation_of_a_ramp() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 3, 4)
    torch.testing.assert_close(tv_loss(ramp), torch.tensor([1.0]))


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: style_loss({"a": x}, {"a": gram(_features(1))}),
        lambda x: content_loss(x, _features(1)),
        tv_loss,
    ],
    ids=["style", "content", "tv"],
)
def test_gradients_agree_with_differences(loss: Callable[[Tensor], Tensor]) -> None:
    x = _features(2).requires_grad_(True)
    loss(x).sum().backward()  # type: ignore[no-untyped-call]
    direction = _features(3) - 0.6
    step = 1e-2
    with torch.no_grad():
        slope = (loss(x + step * direction).sum() - loss(x - step * direction).sum()) / (2 * step)
    assert x.grad is not None
    torch.testing.assert_close((x.grad * direction).sum(), slope, rtol=2e-3, atol=1e-5)
