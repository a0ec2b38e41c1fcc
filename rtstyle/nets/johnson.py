"""The image transformation network of Johnson et al. 2016, at any width."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from rtstyle.nets.layers import (
    BatchNorm,
    Chain,
    Conv,
    ConvNorm,
    InstanceNorm,
    MakeNorm,
    Residual,
    upsample,
)


class Johnson(nn.Module):
    """Feed-forward style net (Johnson et al., ECCV 2016, supplementary §1) in its modern form:
    instance norm (Ulyanov et al. 2016), reflection padding and nearest-upsample + convolution
    (Dumoulin et al. 2017).

    With `styles` S it is the net of Dumoulin et al. 2017: conditional instance norm, S styles and
    every mix of them. `norm` "batch" is the paper's own batch norm, for comparison. `eps` is that
    of the instance norms.

    (N, 3, H, W) float RGB in [0, 1], and (N, S) float weights if there are styles
    → (N, 3, H, W) float, about [0, 1], not clamped. H and W are multiples of 4. `width` 32 is the
    paper's net.
    """

    stride = 4

    def __init__(
        self,
        *,
        width: int = 32,
        blocks: int = 5,
        styles: int = 0,
        norm: str = "instance",
        eps: float = 1e-3,
    ) -> None:
        super().__init__()
        if norm not in ("instance", "batch") or (norm == "batch" and styles):
            raise TypeError(f"norm {norm!r} with {styles} styles")
        self.options: dict[str, int | float | str] = {"width": width, "blocks": blocks}
        if styles:
            self.options["styles"] = styles
        if norm != "instance":
            self.options["norm"] = norm
        if eps != 1e-3:
            self.options["eps"] = eps
        self.style_size = styles
        make: MakeNorm = (
            BatchNorm if norm == "batch" else partial(InstanceNorm, styles=styles, eps=eps)
        )
        self.encoder = Chain(
            ConvNorm(3, width, 9, norm=make),
            ConvNorm(width, 2 * width, stride=2, norm=make),
            ConvNorm(2 * width, 4 * width, stride=2, norm=make),
        )
        self.body = Chain(*(Residual(4 * width, norm=make) for _ in range(blocks)))
        self.up1 = ConvNorm(4 * width, 2 * width, norm=make)
        self.up2 = ConvNorm(2 * width, width, norm=make)
        self.out = Conv(width, 3, 9)
        nn.init.constant_(self.out.bias, 0.5)  # type: ignore[arg-type]  # start at mid grey

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        x = self.body(self.encoder(x, style), style)  # (N, 4w, H/4, W/4)
        x = self.up1(upsample(x), style)  # (N, 2w, H/2, W/2)
        x = self.up2(upsample(x), style)  # (N, w, H, W)
        out: Tensor = self.out(x)
        return out
