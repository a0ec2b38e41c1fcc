"""How near a net brings photographs to a collection: `python -m benchmarks unpaired`.

The kernel distance of Bińkowski et al. 2018 (KID: squared MMD with the kernel (x·y/d + 1)³, without
bias) in features of AlexNet, which no training here uses, between paintings set aside and
photographs as they are, and as each model paints them; and LPIPS between the photograph and its
painting. Paintings and photographs must be ones that the net was not trained on. Writes a sheet:
photographs, each model, paintings.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.options import parse
from benchmarks.quality.alexnet import AlexNet
from benchmarks.students import lpips, stylized
from rtstyle.errors import UsageError
from rtstyle.media.images import read_picture, write_picture
from rtstyle.media.options import PICTURE_SUFFIXES
from rtstyle.train.data import to_float
from rtstyle.train.preview import contact_sheet, square

_LAYER = "relu5"
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    photos: Annotated[Path, typer.Option(help="folder with photographs")]
    paintings: Annotated[Path, typer.Option(help="folder with paintings")]
    alexnet: Annotated[Path, typer.Option(help="AlexNet with the heads of LPIPS")]
    model: Annotated[list[str], typer.Option(help="a model file or style")]
    out: Annotated[Path, typer.Option(help="the sheet to write")] = Path("unpaired.png")


def main(argv: list[str]) -> int:
    """Measure and print."""
    options = parse(Options, argv, program="python -m benchmarks unpaired", about=__doc__)
    judge = AlexNet(options.alexnet)
    photos, paintings = _squares(options.photos), _squares(options.paintings)
    print(f"{len(photos)} photographs, {len(paintings)} paintings")
    wanted = _pooled(judge, paintings)
    far = kernel_distance(_pooled(judge, photos), wanted)
    print(f"photographs: KID {far:.4f}")
    rows = [photos[:_SHOWN]]
    for model in options.model:
        made = np.stack(list(stylized(model, photos)))
        near = kernel_distance(_pooled(judge, made), wanted)
        print(
            f"{model}: KID {near:.4f}, {near / far:.0%} of the photographs'; "
            f"LPIPS to the photograph {lpips(judge, made, photos):.3f}"
        )
        rows.append(made[:_SHOWN])
    sheet = contact_sheet([*rows, paintings[:_SHOWN]])
    write_picture(options.out, sheet, overwrite=True)
    print(f"The sheet is {options.out}.", file=sys.stderr)
    return 0


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Squared maximum mean discrepancy of two sets of features, (N, D) and (M, D), by the cubic
    kernel, estimated without bias: about 0 for two samples of one kind, and at times below."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        values = kernel(a, a)
        return (values.sum() - values.diagonal().sum()) / (len(a) * (len(a) - 1))

    first, second = first.double(), second.double()
    return float(within(first) + within(second) - 2 * kernel(first, second).mean())


def _pooled(judge: AlexNet, pictures: NDArray[np.uint8]) -> Tensor:
    """The last layer's features, averaged over the picture: (N, 256)."""
    with torch.inference_mode():
        return torch.cat([
            judge.features(to_float(p[None], torch.device("cpu")))[_LAYER].mean((2, 3))
            for p in pictures
        ])  # fmt: skip


def _squares(folder: Path) -> NDArray[np.uint8]:
    """The middle of every picture, (N, side, side, 3)."""
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    if len(paths) < 2:
        raise UsageError(f"{folder} holds {len(paths)} pictures; 2 or more are expected.")
    return np.stack([square(read_picture(path)[0]) for path in paths])
