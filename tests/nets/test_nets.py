"""What every architecture promises, and the layers that steer them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from rtstyle.errors import ModelError
from rtstyle.nets import ARCHITECTURES, build_net, styles_option
from rtstyle.nets.adain import adaptive_instance_norm, statistics
from rtstyle.nets.layers import InstanceNorm, LayerNorm
from rtstyle.nets.stylebank import Banks

SMALL: dict[str, dict[str, Any]] = {
    "johnson": {"width": 4, "blocks": 1, "styles": 3},
    "fast": {"width": 4, "deep": 8, "blocks": 1, "tail": 4, "styles": 3},
    "texture-pyramid": {"width": 4, "scales": 3, "styles": 3},
    "stylebank": {"width": 4, "styles": 3},
    "fast-stylebank": {"width": 4, "deep": 8, "blocks": 1, "tail": 4, "styles": 3},
    "adain": {"channels": [4, 4, 8, 8]},
    "fast-adain": {"channels": [4, 4, 8, 8], "width": 4, "deep": 8, "blocks": 1, "tail": 4},
}


def _awake(architecture: str) -> Any:
    """A small net with random weights throughout: untrained norms do not listen to the style."""
    torch.manual_seed(0)
    net = build_net(architecture, **SMALL[architecture]).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


@pytest.mark.parametrize("architecture", SMALL)
def test_paints_any_multiple_of_its_stride_each_picture_by_itself(architecture: str) -> None:
    net = _awake(architecture)
    style = torch.rand(2, net.style_size)
    x = torch.rand(2, 3, 4 * net.stride, 6 * net.stride)
    with torch.inference_mode():
        both = net(x, style)
        assert both.shape == x.shape
        alone, other = net(x[1:], style[1:]), net(x, style.flip(0) + 0.5)
        assert (both[1:] - alone).abs().max() < 1e-3 * both.std()
        assert (both - other).abs().max() > 0.1 * both.std()
    assert build_net(architecture, **net.options).state_dict().keys() == net.state_dict().keys()


def test_an_unknown_architecture_or_option_is_named() -> None:
    with pytest.raises(ModelError, match="no architecture 'jonson'; known are johnson"):
        build_net("jonson")
    with pytest.raises(ModelError, match="johnson does not take these options"):
        build_net("johnson", norm="group")
    with pytest.raises(ModelError, match="scales is a whole number of 1 or more, not 0"):
        build_net("texture-pyramid", scales=0)
    with pytest.raises(ModelError, match="width is a whole number of 1 or more, not 'wide'"):
        build_net("fast", width="wide")


@pytest.mark.parametrize("skip", [1, 2])
def test_a_skip_begins_as_the_picture_itself(skip: int) -> None:
    x = torch.rand(1, 3, 32, 48)
    net = build_net("fast", width=8, deep=8, blocks=1, tail=8, norm="batch", skip=skip).eval()
    assert torch.allclose(net(x), x, atol=1e-6)
    assert net.options["skip"] == skip
    with pytest.raises(ModelError, match=f"skip={skip} needs norm=batch"):
        build_net("fast", skip=skip)


def test_a_coarse_skip_begins_as_the_colours_without_the_details() -> None:
    x = torch.rand(1, 3, 32, 48)
    flat = torch.nn.functional.avg_pool2d(x, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    net = build_net("fast", width=8, deep=8, blocks=1, tail=8, norm="batch", skip=3).eval()
    assert torch.allclose(net(x), net(flat), atol=1e-6)
    assert torch.allclose(net(x).mean((2, 3)), x.mean((2, 3)), atol=0.02)
    assert torch.allclose(net(torch.full_like(x, 0.3)), torch.full_like(x, 0.3), atol=1e-6)


def test_another_skip_is_refused() -> None:
    with pytest.raises(ModelError, match="skip is from 0 to 3, not 4"):
        build_net("fast", norm="batch", skip=4)


def test_a_net_that_has_styles_is_given_how_many() -> None:
    many = {name for name in ARCHITECTURES if styles_option(name, 2) == {"styles": 2}}
    assert many == {"johnson", "fast", "texture-pyramid", "stylebank", "fast-stylebank"}
    one = {name for name in ARCHITECTURES if styles_option(name, 1) == {"styles": 1}}
    assert one == {"stylebank", "fast-stylebank"}
    with pytest.raises(ModelError, match="no architecture 'jonson'"):
        styles_option("jonson", 2)


def test_conditional_norm_mixes_the_scales_and_shifts_of_its_styles() -> None:
    torch.manual_seed(0)
    norm = InstanceNorm(4, styles=2)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(1, 4, 8, 8)
    mixed = norm(x, torch.tensor([[0.25, 0.75]]))
    for weight, bias, expected in (
        (norm.weight[0], norm.bias[0], norm(x, torch.tensor([[1.0, 0.0]]))),
        (0.25 * norm.weight[0] + 0.75 * norm.weight[1],
         0.25 * norm.bias[0] + 0.75 * norm.bias[1], mixed),
    ):  # fmt: skip
        torch.testing.assert_close(F.instance_norm(x, weight=weight, bias=bias, eps=1e-3), expected)


@pytest.mark.parametrize("pictures", [1, 2])
@pytest.mark.parametrize("styles", [0, 3])
@pytest.mark.parametrize(
    "layout", [torch.channels_last, torch.contiguous_format], ids=["channels-last", "contiguous"]
)
def test_a_norm_has_right_gradients_whatever_the_layout(
    pictures: int, styles: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    norm = InstanceNorm(8, styles=styles)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    style = torch.rand(pictures, styles) if styles else None
    x = 3 * torch.randn(pictures, 8, 12, 16) + 1
    grad = torch.randn_like(x).contiguous(memory_format=layout)
    given = [x.contiguous(memory_format=layout).requires_grad_(), norm.weight, norm.bias]
    trained = norm(given[0], style)
    gradients = torch.autograd.grad(trained, given, grad)
    torch.testing.assert_close(norm.eval()(x, style), trained)

    exact = [value.detach().double().requires_grad_() for value in given]
    rows = exact[1:] if style is None else [style.double() @ value for value in exact[1:]]
    scale, shift = (row.reshape(-1, 8, 1, 1) for row in rows)
    variance, mean = torch.var_mean(exact[0], (2, 3), correction=0, keepdim=True)
    expected = (exact[0] - mean) / (variance + 1e-3).sqrt() * scale + shift
    for got, right in zip(
        gradients, torch.autograd.grad(expected, exact, grad.double()), strict=True
    ):
        torch.testing.assert_close(got, right.float(), atol=1e-4, rtol=1e-4)


def test_adaptive_instance_norm_gives_the_statistics_asked_for() -> None:
    x = torch.randn(2, 3, 16, 16) * 4 + 1
    mean, deviation = torch.randn(2, 3), torch.rand(2, 3) + 0.5
    y = adaptive_instance_norm(x, mean, deviation)
    torch.testing.assert_close(y.mean((2, 3)), mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(y.std((2, 3), correction=0), deviation, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(adaptive_instance_norm(x, *statistics(x)), x)


@pytest.mark.parametrize("architecture", ["adain", "fast-adain"])
def test_strength_moves_from_the_pictures_own_statistics_to_the_paintings(
    architecture: str,
) -> None:
    net = _awake(architecture)
    x, painting = torch.rand(2, 1, 3, 64, 64).unbind()
    with torch.inference_mode():
        style, own = net.encode(painting), net.encode(x)
        whole = net(x, style, torch.ones(1))
        torch.testing.assert_close(whole, net(x, style), atol=1e-4, rtol=1e-3)
        half = net(x, style, torch.full((1,), 0.5))
        torch.testing.assert_close(half, net(x, (style + own) / 2), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(net(x, style, torch.zeros(1)), net(x, own), atol=1e-4, rtol=1e-3)


def test_layer_norm_keeps_what_tells_channels_apart() -> None:
    x = torch.randn(2, 3, 8, 8) + torch.tensor([0.0, 2.0, -2.0])[:, None, None]
    normed = LayerNorm(3)(5 * x + 7)
    torch.testing.assert_close(normed, LayerNorm(3)(x), atol=1e-3, rtol=1e-3)  # eps apart
    means = normed.mean((2, 3))
    assert (means[:, 1] > means[:, 0] + 0.5).all()
    assert (means[:, 0] > means[:, 2] + 0.5).all()


def test_banks_mix_linearly_and_choose_per_region() -> None:
    torch.manual_seed(0)
    banks = Banks(3, 4)
    torch.nn.init.normal_(banks.bias)
    x = torch.randn(2, 4, 6, 8)
    kernels = banks.weight.view(3, 4, 3, 3, 4).permute(0, 1, 4, 2, 3)  # taps before channels

    def one(style: int, picture: torch.Tensor) -> torch.Tensor:
        padded = F.pad(picture, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, kernels[style], banks.bias[style])

    weights = torch.tensor([[0.2, 0.8, 0.0], [0.0, 0.0, 1.0]])
    expected = torch.cat([0.2 * one(0, x[:1]) + 0.8 * one(1, x[:1]), one(2, x[1:])])
    torch.testing.assert_close(banks(x, weights), expected, atol=1e-5, rtol=1e-4)
    maps = torch.zeros(2, 3, 3, 4)  # half the resolution: a map is enlarged to fit
    maps[:, 0, :, :2], maps[:, 2, :, 2:] = 1, 1
    regions = banks(x, maps)
    torch.testing.assert_close(regions[..., :4], one(0, x)[..., :4], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(regions[..., 4:], one(2, x)[..., 4:], atol=1e-5, rtol=1e-4)
