"""The canvas that every exported net paints on."""

from __future__ import annotations

import torch

from rtstyle.nets.contract import Contract, Grain


def test_the_grain_is_small_smooth_and_exact() -> None:
    grain = Grain()(720, 1280)
    assert grain.shape == (720, 1280)
    assert abs(float(grain.mean())) < 0.1
    assert 1.4 < float(grain.std()) < 1.7
    assert float((grain[:, 1:] - grain[:, :-1]).abs().max()) < 2  # grey levels
    assert torch.equal((grain * 2**14).round(), grain * 2**14)
    assert torch.equal(grain[8:40, 8:40], grain[520:552, 520:552])
    assert torch.equal(Grain()(75, 33)[:64, :24], grain[:64, :24])


def test_the_grain_is_laid_under_every_picture() -> None:
    frames = torch.full((2, 16, 24, 3), 100, dtype=torch.uint8)
    painted = Contract(torch.nn.Identity())(frames)
    expected = (100 + Grain()(16, 24)).round().to(torch.uint8)
    assert torch.equal(painted, expected[None, :, :, None].expand(2, 16, 24, 3))
    assert "grain.knots" not in Contract(torch.nn.Identity()).state_dict()
