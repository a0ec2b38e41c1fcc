"""How good the paintings of the shipped styles are: `python -m benchmarks quality`.

On held-out photographs at 256 pixels, in the feature space of the perceptual network:

* style and content loss, each relative;
* Pareto ratio: Gatys et al. by 100 steps of L-BFGS at five trade-offs makes a frontier, and the
  ratio of a net on a photograph is the smallest, over the frontier's points, of
  max(style / style there, content / content there). 1 is as good as Gatys; the median is reported;
* noise gain ‖S(x + n) − S(x)‖ / ‖n‖ for n ~ N(0, 0.02²): what a webcam's tremble becomes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtstyle.engines import open_engine
from rtstyle.engines.base import Engine
from rtstyle.errors import UsageError
from rtstyle.media.picture import read_picture, write_picture
from rtstyle.style import Style, find_styles
from rtstyle.train.data import resize_short_side
from rtstyle.train.gatys import paint
from rtstyle.train.loop import to_float
from rtstyle.train.losses import Features, content_loss, grams, style_loss
from rtstyle.train.perceptual import CONTENT_LAYER, PerceptualNet, load_perceptual_net
from rtstyle.train.preview import contact_sheet, square

HELD_OUT = Path(__file__).with_name("heldout.txt")
WEIGHTS = (1.0, 3.0, 10.0, 30.0, 100.0)
STEPS = 100
NOISE = 0.02

Losses = tuple[float, float]  # style, content


@dataclass(frozen=True, slots=True)
class Quality:
    """The figures of one style, each a median over `photographs` held-out photographs."""

    style: str
    pareto_ratio: float
    style_loss: float
    content_loss: float
    noise_gain: float
    photographs: int


class Judge:
    """Measures pictures against one painting; keeps Gatys' frontiers in `cache`."""

    def __init__(
        self, painting: Path, style_size: int, loss_net: PerceptualNet, cache: Path
    ) -> None:
        picture = resize_short_side(read_picture(painting)[0], style_size)
        self._key = hashlib.sha256(picture.tobytes()).hexdigest()[:12]
        self._net, self._cache = loss_net, cache
        with torch.no_grad():
            self._style: Features = grams(loss_net(_tensor(picture)))

    def losses(self, painted: Tensor, photo: Tensor) -> Losses:
        with torch.no_grad():
            features, target = self._net(painted), self._net(photo)
            return (
                float(style_loss(features, self._style)),
                float(content_loss(features[CONTENT_LAYER], target[CONTENT_LAYER])),
            )

    def frontier(self, photo: NDArray[np.uint8]) -> list[Losses]:
        name = hashlib.sha256(photo.tobytes()).hexdigest()[:12]
        path = self._cache / f"gatys-{STEPS}-{self._key}-{name}.json"
        if path.exists():
            return [(s, c) for s, c in json.loads(path.read_text())]
        x = _tensor(photo)
        points = [
            self.losses(
                paint(x, self._style, loss_net=self._net, steps=STEPS, style_weight=weight), x
            )
            for weight in WEIGHTS
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(points))
        return points


def pareto_ratio(losses: Losses, frontier: list[Losses]) -> float:
    """By which factor `losses` miss the nearest trade-off of the frontier."""
    return min(max(losses[0] / style, losses[1] / content) for style, content in frontier)


def measure(
    style: Style, photos: list[NDArray[np.uint8]], judge: Judge
) -> tuple[Quality, NDArray[np.uint8]]:
    """The figures of one style, and its paintings (N, H, W, 3)."""
    rng = np.random.default_rng(0)
    losses, ratios, gains, paintings = [], [], [], []
    with open_engine("auto", style.model) as engine:
        for photo in photos:
            painted = _paint(engine, photo, style)
            noisy = np.clip(np.rint(photo + rng.normal(0, NOISE * 255, photo.shape)), 0, 255)
            trembling = _paint(engine, noisy.astype(np.uint8), style)
            losses.append(judge.losses(_tensor(painted), _tensor(photo)))
            ratios.append(pareto_ratio(losses[-1], judge.frontier(photo)))
            change = np.linalg.norm(trembling.astype(float) - painted)
            gains.append(float(change / np.linalg.norm(noisy - photo)))
            paintings.append(painted)
            print(
                f"  {style.name}: {len(ratios)} of {len(photos)}, ratio {ratios[-1]:.2f}",
                flush=True,
            )
    quality = Quality(
        style.name,
        round(median(ratios), 3),
        round(median(s for s, _ in losses), 4),
        round(median(c for _, c in losses), 4),
        round(median(gains), 3),
        len(photos),
    )
    return quality, np.stack(paintings)


def main(argv: list[str]) -> None:
    """Write quality.json, quality.md and sheet.png."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks quality", description=__doc__)
    parser.add_argument(
        "--content", type=Path, required=True, help="folder with the held-out photographs"
    )
    parser.add_argument("--paintings", type=Path, required=True, help="folder with the paintings")
    parser.add_argument("--loss-net", type=Path, required=True, help="the compressed VGG-19")
    parser.add_argument(
        "--photographs", type=int, default=12, help="how many, spread over the list"
    )
    parser.add_argument("--style", action="append", help="only this style; may be repeated")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"))
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/out/frontier"))
    options = parser.parse_args(argv)

    names = HELD_OUT.read_text().split()
    chosen = np.unique(np.linspace(0, len(names) - 1, options.photographs).astype(int))
    photos = [square(read_picture(options.content / names[i])[0]) for i in chosen]
    styles = [s for s in find_styles() if not options.style or s.name in options.style]
    loss_net = load_perceptual_net(options.loss_net)
    rows, sheet = [], [np.stack(photos)]
    for style in styles:
        origin = style.model.provenance
        if "painting" not in origin or "recipe" not in origin:
            raise UsageError(
                f"The model of {style.name} does not say which painting it was trained on."
            )
        judge = Judge(
            options.paintings / origin["painting"],
            origin["recipe"]["style_size"],
            loss_net,
            options.cache,
        )
        quality, paintings = measure(style, photos, judge)
        rows.append(quality)
        sheet.append(paintings)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "quality.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    table = markdown(rows)
    (options.out / "quality.md").write_text(table)
    write_picture(options.out / "sheet.png", contact_sheet(sheet), overwrite=True)
    print(table)


def markdown(rows: list[Quality]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| style | Pareto ratio to Gatys@100 | style loss | content loss | noise gain "
        "| photographs |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.style} | {r.pareto_ratio:.2f} | {r.style_loss:.3f} | {r.content_loss:.3f} "
        f"| {r.noise_gain:.2f} | {r.photographs} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def _paint(engine: Engine, photo: NDArray[np.uint8], style: Style) -> NDArray[np.uint8]:
    painted: NDArray[np.uint8] = engine.submit(photo[None], style.vector).result()[0]
    return painted


def _tensor(picture: NDArray[np.uint8]) -> Tensor:
    return to_float(picture[None], torch.device("cpu"))
