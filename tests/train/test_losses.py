"""Every loss against an independent reference in float64: values, gradients, and what they mean."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rtstyle.errors import UsageError
from rtstyle.train.losses import (
    Disturbance,
    content_loss,
    eased,
    random_disturbance,
    stability_loss,
    tv_loss,
    unlikeness,
    where_loss,
)
from rtstyle.train.style_losses import STYLE_LOSSES, describe, gram, style_loss, total_distance

Kernel = Callable[[Tensor, Tensor], Tensor]
Reference = Callable[[Tensor, Tensor], Tensor]


def features(seed: int = 0, *, shape: tuple[int, ...] = (2, 3, 6, 5)) -> Tensor:
    """Activations as a net has them: not negative, correlated, unlike from seed to seed."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.rand((shape[1], shape[1]), generator=generator)
    noise = torch.randn(shape, generator=generator)
    return torch.einsum("dc,nchw->ndhw", mixing, noise).relu() + 0.1 * (seed + 1)


def samples(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)  # (N, L, C)


def mmd(kernel: Kernel, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The MMD by every pair of positions, and the mean of the kernel over the painting's."""
    own = kernel(y, y).mean((1, 2))
    return kernel(x, x).mean((1, 2)) + own - 2 * kernel(x, y).mean((1, 2)), own


def dots(a: Tensor, b: Tensor) -> Tensor:
    return a @ b.transpose(1, 2)  # (N, L, L)


def gram_reference(x: Tensor, y: Tensor) -> Tensor:
    """Li et al. 2017: the Gram loss is the MMD of the squared dot product."""
    distance, own = mmd(lambda a, b: dots(a, b) ** 2, samples(x), samples(y))
    return distance / own


def linear_reference(x: Tensor, y: Tensor) -> Tensor:
    distance, own = mmd(dots, samples(x), samples(y))
    return distance / own


def polynomial_reference(x: Tensor, y: Tensor) -> Tensor:
    c = samples(y).square().sum(2).mean(1)[:, None, None]
    distance, own = mmd(lambda a, b: (dots(a, b) + c) ** 2, samples(x), samples(y))
    return distance / (own - c[:, 0, 0] ** 2)


def gaussian_reference(x: Tensor, y: Tensor) -> Tensor:
    x, y = samples(x), samples(y)
    bandwidth = (y[:, :, None] - y[:, None]).square().sum(3).mean((1, 2))[:, None, None]

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-(a[:, :, None] - b[:, None]).square().sum(3) / bandwidth)

    return mmd(kernel, x, y)[0]


def bn_reference(x: Tensor, y: Tensor) -> Tensor:
    def moments(a: Tensor) -> tuple[Tensor, Tensor]:
        mean = a.mean((2, 3))
        return mean, ((a - mean[:, :, None, None]) ** 2).mean((2, 3)).sqrt()

    (mean, deviation), (mean_y, deviation_y) = moments(x), moments(y)
    off = ((mean - mean_y) ** 2 + (deviation - deviation_y) ** 2).sum(1)
    return off / (mean_y**2 + deviation_y**2).sum(1)


def content_reference(x: Tensor, y: Tensor) -> Tensor:
    return ((x - y) ** 2).sum((1, 2, 3)) / (y**2).sum((1, 2, 3))


def tv_reference(x: Tensor, _: Tensor) -> Tensor:
    across = torch.stack([(x[..., i + 1] - x[..., i]) ** 2 for i in range(x.shape[3] - 1)])
    down = torch.stack([(x[..., i + 1, :] - x[..., i, :]) ** 2 for i in range(x.shape[2] - 1)])
    return across.mean((0, 2, 3)) + down.mean((0, 2, 3))


def shift_reference(x: Tensor, y: Tensor) -> Tensor:
    """Moved by one pixel to the left; what comes from outside does not count."""
    return torch.sqrt(((x[..., 1:] - y[..., :-1]) ** 2).sum((1, 2, 3)) / x[0].numel())


def shifting(like: Tensor) -> Disturbance:
    n, _, height, width = like.shape
    theta = torch.eye(2, 3).expand(n, 2, 3)
    grid = torch.nn.functional.affine_grid(theta, [n, 3, height, width], align_corners=True).clone()
    grid[..., 0] += 2 / (width - 1)
    inside = (grid.abs() <= 1 + 1e-6).all(-1)[:, None].float()
    return Disturbance(grid, inside, torch.ones(n, 1, 1, 1), torch.zeros(n, 3, height, width))


def by_name(name: str) -> Reference:
    def distance(x: Tensor, y: Tensor) -> Tensor:
        loss = style_loss(name)
        return loss.distance(x, loss.describe(y))

    return distance


EXACT: dict[str, tuple[Reference, Reference]] = {
    "gram": (by_name("gram"), gram_reference),
    "mmd-linear": (by_name("mmd-linear"), linear_reference),
    "mmd-poly": (by_name("mmd-poly"), polynomial_reference),
    "bn": (by_name("bn"), bn_reference),
    "content": (content_loss, content_reference),
    "tv": (lambda x, y: tv_loss(x), tv_reference),
    "stability": (lambda x, y: stability_loss(x, y, shifting(x)), shift_reference),
}


def value_and_gradient(loss: Reference, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_(True)
    value = loss(x, y)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


@pytest.mark.parametrize("name", EXACT)
def test_values_and_gradients_are_those_of_the_definition(name: str) -> None:
    loss, reference = EXACT[name]
    x, y = features(0), features(1)
    value, gradient = value_and_gradient(loss, x, y)
    exact, slope = value_and_gradient(reference, x.double(), y.double())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(
        gradient.double(), slope, rtol=1e-3, atol=1e-5 * float(slope.abs().max())
    )
    # and the reference's own gradient is that of differences
    assert torch.autograd.gradcheck(
        lambda a: reference(a, y.double()), (x.double().requires_grad_(True),)
    )


def test_the_gaussian_mmd_is_near_that_of_all_pairs() -> None:
    """It averages 128 random waves, which leaves a few per cent."""
    for seed in range(4):
        x, y = features(seed), features(seed + 1)
        value, gradient = value_and_gradient(by_name("mmd-gaussian"), x, y)
        exact, slope = value_and_gradient(gaussian_reference, x.double(), y.double())
        assert (value - exact).abs().max() < 0.05
        torch.testing.assert_close(value.double(), exact, rtol=0.25, atol=0.02)
        cosine = torch.nn.functional.cosine_similarity(
            gradient.double().flatten(), slope.flatten(), dim=0
        )
        assert cosine > 0.95


def test_the_gaussian_mmd_has_the_gradient_of_its_differences() -> None:
    x, y = features(0), features(1)
    loss = by_name("mmd-gaussian")
    _, gradient = value_and_gradient(loss, x, y)
    direction = features(2) - features(2).mean()
    step = 1e-2
    slope = (loss(x + step * direction, y) - loss(x - step * direction, y)).sum() / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=5e-3, atol=1e-6)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_a_painting_has_no_distance_to_itself_wherever_its_parts_are(name: str) -> None:
    x, loss = features(0), style_loss(name)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    moved = x.flatten(2)[:, :, order].reshape(2, 3, 5, 6)
    twice = torch.cat([x, x], 3)  # also a painting twice as large
    for same in (x, moved, twice):
        distance, gradient = value_and_gradient(by_name(name), same, x)
        assert distance.abs().max() < 1e-6
        assert gradient.abs().max() < 1e-4
    assert loss.distance(features(1), loss.describe(x)).min() > 1e-3


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_only_proportions_count(name: str) -> None:
    """Ten times the activations on both sides are the same distance: one weight suits all."""
    x, y = features(0), features(1)
    torch.testing.assert_close(
        by_name(name)(x, y), by_name(name)(10 * x, 10 * y), rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_one_painting_serves_a_batch_and_layers_add_up(name: str) -> None:
    loss, x = style_loss(name), features(0)
    painting = {"a": features(1)[:1], "b": features(2, shape=(1, 4, 3, 3))}
    painted = {"a": x, "b": features(3, shape=(2, 4, 4, 4))}
    target = describe(loss, painting)
    total = total_distance(loss, painted, target)
    assert total.shape == (2,)
    weighted = total_distance(loss, painted, target, {"a": 0.5, "b": 0.0})
    torch.testing.assert_close(weighted, 0.5 * loss.distance(painted["a"], target["a"]))
    for n in range(2):
        alone = sum(loss.distance(painted[layer][n : n + 1], target[layer]) for layer in ("a", "b"))
        torch.testing.assert_close(total[n : n + 1], alone)


@pytest.mark.parametrize("name", STYLE_LOSSES)
def test_half_precision_is_computed_in_single(name: str) -> None:
    x, y = (100 * features(seed) for seed in (0, 1))
    half = by_name(name)(x.half(), y.half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, by_name(name)(x, y), rtol=2e-2, atol=1e-3)


def test_an_unknown_style_loss_is_reported() -> None:
    with pytest.raises(UsageError, match="no style loss 'grim'; known are gram, mmd-linear"):
        style_loss("grim")


def test_the_gram_matrix_is_the_mean_product_of_channels() -> None:
    x = features()
    by_hand = torch.zeros(2, 3, 3)
    for n in range(2):
        for i in range(3):
            for j in range(3):
                by_hand[n, i, j] = (x[n, i] * x[n, j]).sum() / (3 * 6 * 5)
    torch.testing.assert_close(gram(x), by_hand)


@pytest.mark.parametrize("name", ["gram", "mmd-linear", "mmd-poly"])
def test_nothing_painted_at_all_costs_1_a_layer(name: str) -> None:
    x = features()
    torch.testing.assert_close(by_name(name)(torch.zeros_like(x), x), torch.ones(2))
    torch.testing.assert_close(content_loss(torch.zeros_like(x), x), torch.ones(2))


def test_a_place_counts_alone_and_by_its_area_only_where_it_is_tiny() -> None:
    photo = features(0, shape=(1, 3, 40, 40))
    painted = photo.clone()
    painted[..., :10, :10] += 1
    place = torch.zeros(1, 80, 80)  # twice the size of the features
    place[:, :20, :20] = 1
    alone = content_loss(painted[..., :10, :10], photo[..., :10, :10])
    torch.testing.assert_close(where_loss(painted, photo, place), alone, rtol=0.01, atol=0)
    assert where_loss(painted, photo, place.flip(1, 2)) == 0
    tiny = torch.zeros(1, 80, 80)
    tiny[:, :4, :4] = 1
    ratio = where_loss(painted, photo, tiny) / content_loss(
        painted[..., :2, :2], photo[..., :2, :2]
    )
    torch.testing.assert_close(ratio, torch.tensor([4 / 1600 / 0.02]), rtol=0.02, atol=0)


def test_total_variation_of_a_ramp() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 3, 4)
    torch.testing.assert_close(tv_loss(ramp), torch.tensor([1.0]))


def test_a_painting_that_moves_along_is_steady() -> None:
    painted = features(0, shape=(16, 3, 40, 48))
    disturbance = random_disturbance(painted, torch.Generator().manual_seed(0))
    steady = disturbance.warp(painted)
    assert stability_loss(painted, steady, disturbance).abs().max() == 0
    outside = torch.where(disturbance.inside.bool(), steady, steady + 5)
    assert not torch.equal(outside, steady)
    assert stability_loss(painted, outside, disturbance).abs().max() == 0
    stuck = stability_loss(painted, painted, disturbance)
    moving = stuck > 1e-3
    assert stuck[~moving].max() < 1e-5  # some pictures are only noisy
    assert 4 <= moving.sum() <= 12
    grey = torch.full_like(painted, 0.5)
    trembling = (disturbance.photo(grey) - grey * disturbance.gain)[~moving]
    assert 1e-3 < trembling.std() < 0.05


def test_an_eased_loss_keeps_the_order_and_pulls_less_where_it_is_hopeless() -> None:
    loss = torch.tensor([0.0, 0.1, 0.6, 6.0, 60.0], dtype=torch.float64, requires_grad=True)
    value = eased(loss, 0.3)
    assert value[0] == 0
    assert (value.diff() > 0).all()
    value.sum().backward()
    assert loss.grad is not None
    assert loss.grad.tolist() == pytest.approx([3, 2.25, 1, 1 / 7, 3 / 201])


def test_unlikeness_compares_directions_place_by_place() -> None:
    x, y = features(0), features(1)
    assert unlikeness(x, x).max() < 1e-6
    assert torch.allclose(unlikeness(3 * x, 0.5 * x), torch.zeros(2), atol=1e-6)
    cosine = torch.nn.functional.cosine_similarity(x.double(), y.double(), dim=1)
    assert torch.allclose(unlikeness(x, y).double(), (2 - 2 * cosine).mean((1, 2)), atol=1e-6)
    first = torch.zeros(1, 2, 1, 1)
    first[0, 0] = 5
    assert float(unlikeness(first, first.flip(1))) == pytest.approx(2)
