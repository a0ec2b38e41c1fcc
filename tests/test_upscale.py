"""The net of `--upscale 2`: the one that is shipped, and its training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.upscaler import Recipe, Upscaler, train, write
from rtstyle.engines import open_engine
from rtstyle.engines.graph import open_graph
from rtstyle.errors import UsageError
from rtstyle.frame import Image
from rtstyle.image import Look, finish, prepare
from rtstyle.media.images import read_picture
from rtstyle.model.zoo import shipped_folder
from rtstyle.style.parse import find_style
from rtstyle.train.data import demo_photos
from rtstyle.train.perceptual import load_perceptual_net
from rtstyle.upscale import upscaled
from tests.train.materials import make_loss_net

PHOTO = shipped_folder().parent / "samples" / "astronaut.jpg"


def _resized(image: Image, size: tuple[int, int], method: int) -> Image:
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def _detail(image: Image) -> float:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean())


def test_a_painting_keeps_its_strokes_better_than_enlarged_by_cubic_curves() -> None:
    photo = np.ascontiguousarray(read_picture(PHOTO)[0][:256, :320])
    style = find_style("starry_night")
    with open_engine("auto", style.model) as engine:
        batch = prepare(photo, model=engine.model, look=Look())
        painted = engine.submit(batch, style.vector).result()[0, :256, :320]
    half = _resized(painted, (160, 128), cv2.INTER_AREA)
    cubic = _resized(half, (320, 256), cv2.INTER_CUBIC)
    enlarged = upscaled(half[None], photo, model=style.model, look=Look(upscale=2))[0]
    far = [float(np.abs(x.astype(int) - painted).mean()) for x in (enlarged, cubic)]
    assert far[0] < 0.9 * far[1]
    assert abs(_detail(enlarged) / _detail(painted) - 1) < abs(
        _detail(cubic) / _detail(painted) - 1
    )


def test_the_net_paints_a_quarter_of_the_pixels_and_the_picture_keeps_its_size() -> None:
    style, photo = find_style("gallery:udnie"), read_picture(PHOTO)[0]
    look = Look(upscale=2, strength=0.5)
    batch = prepare(photo, model=style.model, look=look)
    assert batch[0].size < 0.27 * photo.size
    large = upscaled(batch, photo, model=style.model, look=look)
    assert large[0].size == 4 * batch[0].size
    assert finish(large, photo, model=style.model, look=look).shape == photo.shape
    unseen = Look(upscale=2, strength=0)
    assert upscaled(batch, photo, model=style.model, look=unseen) is batch
    assert np.array_equal(finish(batch, photo, model=style.model, look=unseen), photo)
    huge = Look(upscale=2, scale=3.0)  # painted larger than the picture is: nothing to enlarge
    batch = prepare(photo[:64, :64], model=style.model, look=huge)
    assert upscaled(batch, photo[:64, :64], model=style.model, look=huge) is batch


def test_a_stroke_keeps_its_length() -> None:
    assert Look(stroke=0.03, upscale=2).factor(720, 1280) == Look(stroke=0.03).factor(720, 1280)


def test_another_factor_is_refused() -> None:
    with pytest.raises(UsageError, match="by 2 or, not at all, by 1; not by 3"):
        Look(upscale=3)


class _Striped(nn.Module):
    """Paints stripes over a photograph, which only a net that learns can bring back."""

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        stripes = (torch.arange(x.shape[3]) // 2 % 2).float()
        return 0.5 * x + 0.5 * stripes


def test_a_net_learns_and_any_runtime_gives_what_torch_gave(tmp_path: Path) -> None:
    loss_net = load_perceptual_net(make_loss_net(tmp_path / "vgg.safetensors"))
    recipe = Recipe(updates=40, batch=2, crop=64, rate=5e-3)
    history = [x for _, x in train(demo_photos(), _Striped(), loss_net, recipe)]
    assert np.mean([x["l1"] for x in history[-5:]]) < np.mean([x["l1"] for x in history[:5]])

    torch.manual_seed(0)
    net, small = Upscaler(), torch.rand(1, 3, 9, 14)
    bilinear = F.interpolate(small, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(net(small), bilinear)  # as it begins
    nn.init.normal_(net.body[-1].weight, std=0.1)  # type: ignore[arg-type]
    write(net, tmp_path / "double.onnx")
    facts = onnx.load(tmp_path / "double.onnx").metadata_props
    assert {fact.key for fact in facts} == {"licence", "provenance"}
    image = np.random.default_rng(0).integers(0, 256, (23, 42, 3), np.uint8)
    with torch.no_grad():
        x = net(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
    wanted = (x.clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    given = open_graph(tmp_path / "double.onnx").run(image[None])[0]
    assert np.abs(given.astype(int) - wanted).max() <= 1
