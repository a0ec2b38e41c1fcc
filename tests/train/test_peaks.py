from __future__ import annotations

import pytest
import torch
from torch import nn

from rtstyle.nets.layers import InstanceNorm
from rtstyle.train.losses import LIMIT, Peaks


def test_spikes_cost_the_square_of_their_excess() -> None:
    net = nn.Sequential(*(InstanceNorm(2) for _ in range(4)))
    peaks = Peaks(net)
    x = torch.randn(3, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    with peaks.watch():
        net(x)
    assert peaks.loss().tolist() == [0, 0, 0]
    x[1, 0, 5, 5] = 1e4  # alone it is √(n − 1) deviations from the mean
    with peaks.watch():
        net(x)
    # of one channel in two, at the two norms behind the encoder's, which see the same values
    assert peaks.loss().tolist() == pytest.approx([0, (255**0.5 - LIMIT) ** 2, 0], rel=1e-2)
    net(x)  # nobody watches: nothing is kept
    assert len(peaks._seen) == 2


def test_a_net_without_instance_norms_has_no_spikes() -> None:
    peaks = Peaks(nn.Conv2d(3, 3, 1))
    with peaks.watch():
        pass
    assert peaks.loss().sum() == 0
