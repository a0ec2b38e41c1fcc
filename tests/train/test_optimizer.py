from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rtstyle.nets import build_net
from rtstyle.nets.stylebank import Banks
from rtstyle.train.optimizer import KERNEL_LR, Muon, Optimizer


def _updates(net: nn.Module, optimizer: Optimizer, lr: float) -> dict[str, Tensor]:
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer.step(lr)
    return {name: p.detach() - before[name] for name, p in net.named_parameters()}


def test_kernels_move_equally_far_in_every_direction_and_the_rest_as_with_adam() -> None:
    torch.manual_seed(0)
    net = build_net("johnson", width=8, blocks=1).to(memory_format=torch.channels_last)
    x = torch.rand(1, 3, 32, 32)
    (net(x) * torch.rand(1, 3, 32, 32)).sum().backward()
    kernel = net.body[0].first.conv.weight  # type: ignore[index, union-attr]
    gradient = torch.linalg.svdvals(kernel.grad.flatten(1))
    assert gradient[0] > 4 * gradient[-2]  # what it is given is far from equal
    update = _updates(net, Optimizer(net), lr=1e-3)
    moved = update["body.0.first.conv.weight"]
    lengths = torch.linalg.svdvals(moved.flatten(1))[:-1]
    assert lengths.max() < 2 * lengths.min()
    assert float(moved.square().mean().sqrt()) == pytest.approx(0.2 * KERNEL_LR * 1e-3, rel=0.2)
    for name in ("out.weight", "out.bias", "body.0.first.norm.weight"):
        assert update[name].abs().max() == pytest.approx(1e-3, rel=1e-3)


def test_a_bank_that_had_no_part_in_an_update_stays_as_it_is() -> None:
    banks = Banks(2, 4)
    optimizer, x = Optimizer(banks), torch.rand(1, 4, 8, 8)
    banks(x, torch.tensor([[0.5, 0.5]])).square().sum().backward()
    optimizer.step(1e-3)  # both have momentum now
    banks.zero_grad()
    banks(x, torch.tensor([[1.0, 0.0]])).square().sum().backward()
    update = _updates(banks, optimizer, lr=1e-3)["weight"]
    assert update[0].abs().min() > 0
    assert not update[1].any()


def test_kernels_that_would_be_copied_are_refused() -> None:
    with pytest.raises(ValueError, match="channels_last"):
        Optimizer(nn.Conv2d(4, 4, 3))


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_muon_moves_as_torch_s_does(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    mine, theirs = (nn.Parameter(torch.zeros(shape)) for _ in range(2))
    ours = Muon([mine], lr=1e-2)
    reference = torch.optim.Muon(
        [theirs], lr=1e-2, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(3):
        mine.grad = torch.randn(shape, generator=generator)
        theirs.grad = mine.grad.clone()
        ours.step()
        reference.step()
    torch.testing.assert_close(mine, theirs, rtol=0.05, atol=1e-3)  # that is in bfloat16
