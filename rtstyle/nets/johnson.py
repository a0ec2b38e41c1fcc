"""The image transformation network of Johnson et al. 2016, at any width."""

from __future__ import annotations

from torch import Tensor, nn

from rtstyle.nets.layers import Conv, ConvNorm, Residual, upsample


class Johnson(nn.Module):
    """Feed-forward style net (Johnson et al., ECCV 2016, supplementary §1) in its modern form:
    instance norm (Ulyanov et al. 2016), reflection padding and nearest-upsample + convolution
    (Dumoulin et al. 2017).

    (N, 3, H, W) float RGB in [0, 1] → (N, 3, H, W) float, about [0, 1], not clamped.
    H and W are multiples of 4. `width` 32 is the paper's net.
    """

    stride = 4

    def __init__(self, *, width: int = 32, blocks: int = 5) -> None:
        super().__init__()
        self.options = {"width": width, "blocks": blocks}
        self.encoder = nn.Sequential(
            ConvNorm(3, width, 9),
            ConvNorm(width, 2 * width, stride=2),
            ConvNorm(2 * width, 4 * width, stride=2),
        )
        self.body = nn.Sequential(*(Residual(4 * width) for _ in range(blocks)))
        self.up1 = ConvNorm(4 * width, 2 * width)
        self.up2 = ConvNorm(2 * width, width)
        self.out = Conv(width, 3, 9)
        nn.init.constant_(self.out.bias, 0.5)  # type: ignore[arg-type]  # start at mid grey

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.encoder(x))  # (N, 4w, H/4, W/4)
        x = self.up1(upsample(x))  # (N, 2w, H/2, W/2)
        x = self.up2(upsample(x))  # (N, w, H, W)
        out: Tensor = self.out(x)
        return out
