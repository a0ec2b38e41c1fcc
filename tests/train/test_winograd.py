from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from rtstyle.train.winograd import FixedConv


@pytest.mark.parametrize(
    ("channels", "shape"),
    [
        ((64, 128), (2, 20, 36)),
        ((160, 96), (1, 8, 132)),
        ((64, 128), (1, 22, 36)),
        ((3, 8), (1, 8, 8)),
    ],
)
def test_it_is_the_convolution(channels: tuple[int, int], shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    conv = FixedConv(*channels)
    n, height, width = shape
    x = torch.randn(n, channels[0], height, width, requires_grad=True)
    out = conv(x)
    expected = F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1)  # type: ignore[union-attr]
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-4)
    pull = torch.randn_like(out)
    (grad,) = torch.autograd.grad(out, x, pull)
    (slope,) = torch.autograd.grad(expected, x, pull.double())
    torch.testing.assert_close(grad, slope, rtol=1e-4, atol=1e-4)
