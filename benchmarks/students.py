"""How near a net is to what it imitates: `python -m benchmarks students MODEL`.

On pairs of a picture and what a teacher made of it: LPIPS (AlexNet, which no training here uses)
between each model's picture and the teacher's, and between the photograph and the teacher's. Of the
pairs of a training, those that were kept back are taken; with --all every one. Writes a sheet:
photograph, teacher, each model. With --teacher, the teacher's command, both paint the same pictures
by turns, and how many times faster the student is gets printed; for a quiet machine.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from benchmarks.options import parse
from benchmarks.quality.alexnet import AlexNet
from rtstyle.engines import open_engine
from rtstyle.frame import Image
from rtstyle.image import Look, finish, prepare
from rtstyle.media.images import read_picture, write_picture
from rtstyle.style.parse import find_style
from rtstyle.train.data import to_float
from rtstyle.train.preview import contact_sheet
from rtstyle.train.ways.pairs import Pair, PairFolders, middle

_SHOWN = 12
_TIMED, _REPEATS = 5, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    before: Annotated[Path, typer.Option(help="folder with the photographs")]
    after: Annotated[Path, typer.Option(help="folder with the teacher's pictures of them")]
    alexnet: Annotated[Path, typer.Option(help="AlexNet with the heads of LPIPS")]
    model: Annotated[
        list[str], typer.Option(help="a model file or style; the first is the student")
    ]
    every: Annotated[bool, typer.Option("--all", help="all pairs, none of which was taught")] = (
        False
    )
    teacher: Annotated[
        str | None, typer.Option(help="command with {input} and {output}, to be timed")
    ] = None
    out: Annotated[Path, typer.Option(help="the sheet to write")] = Path("students.png")


def main(argv: list[str]) -> int:
    """Measure and print."""
    options = parse(Options, argv, program="python -m benchmarks students", about=__doc__)
    judge = AlexNet(options.alexnet)
    way = PairFolders(before=options.before, after=options.after).open(
        options.before, lambda done, total, remark: None
    )
    kept_back = way.shown if len(way.shown) < len(way.taught) else []  # few are shown as taught
    chosen = [*way.taught, *kept_back] if options.every else way.shown
    pairs = [Pair(middle(p.before), middle(p.after)) for p in chosen]
    print(f"{len(pairs)} pairs")
    rows = [np.stack([p.before for p in pairs]), np.stack([p.after for p in pairs])]
    print(f"photograph: LPIPS to the teacher {lpips(judge, rows[0], rows[1]):.3f}")
    for model in options.model:
        rows.append(np.stack(list(stylized(model, rows[0]))))
        print(f"{model}: LPIPS to the teacher {lpips(judge, rows[-1], rows[1]):.3f}")
    if options.teacher:
        chosen_files = [p for p in sorted(options.before.iterdir()) if p.suffix == ".png"][:_TIMED]
        times = list(seconds(options.teacher, options.model[0], chosen_files))
        theirs, ours = (float(np.median(side)) for side in zip(*times, strict=True))
        print(f"{theirs:.2f} s a picture by the teacher, {1000 * ours:.1f} ms by the student: "
              f"{theirs / ours:.0f} times faster")  # fmt: skip
    sheet = contact_sheet([row[:_SHOWN] for row in rows])
    write_picture(options.out, sheet, overwrite=True)
    print(f"The sheet is {options.out}.", file=sys.stderr)
    return 0


def stylized(model: str, photos: NDArray[np.uint8]) -> Iterator[Image]:
    style, look = find_style(model), Look()
    with open_engine("auto", style.model) as engine:
        for photo in photos:
            batch = prepare(photo, model=engine.model, look=look)
            painted = engine.submit(batch, style.vector).result()
            yield finish(painted, photo, model=engine.model, look=look)


def seconds(teacher: str, student: str, pictures: list[Path]) -> Iterator[tuple[float, float]]:
    """What each picture takes the teacher's command, and the student from array to array."""
    style, look = find_style(student), Look()
    with tempfile.TemporaryDirectory() as folder, open_engine("auto", style.model) as engine:

        def paint(photo: Image) -> None:
            batch = prepare(photo, model=engine.model, look=look)
            finish(
                engine.submit(batch, style.vector).result(), photo, model=engine.model, look=look
            )

        for path in pictures:
            places = {"{input}": str(path), "{output}": str(Path(folder) / "out.png")}
            began = perf_counter()
            arguments = [places.get(part, part) for part in shlex.split(teacher)]
            subprocess.run(arguments, check=True, capture_output=True)
            theirs, photo = perf_counter() - began, read_picture(path)[0]
            paint(photo)  # the size may be new
            began = perf_counter()
            for _ in range(_REPEATS):
                paint(photo)
            yield theirs, (perf_counter() - began) / _REPEATS


def lpips(
    judge: AlexNet,
    pictures: NDArray[np.uint8],
    wanted: NDArray[np.uint8],
) -> float:
    """The mean over pairs."""
    with torch.inference_mode():
        far = [
            float(judge.lpips(*(to_float(p[None], torch.device("cpu")) for p in pair)))
            for pair in zip(pictures, wanted, strict=True)
        ]
    return float(np.mean(far))
