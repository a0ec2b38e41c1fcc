"""How near the masks are to their teacher's: `python -m benchmarks masks --data DIR`.

IoU of what both call a person (above one half) at the net's size, on photographs of tier B in which
the teacher surely finds a person, and on the clips of `HELD_OUT`, none of which was trained on. On
the clips also the change along the motion (Farnebäck flow of the pictures), raw and steadied, as a
share of the teacher's, and the teacher's IoU with itself on mirrored frames, which tells how much
agreement can be asked for.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.options import parse
from export.person_samples import HELD_OUT, Mask, Teacher, frames_of, holds_person
from rtstyle.engines.graph import open_graph
from rtstyle.frame import Frame
from rtstyle.masks import PersonMasks, find_mask_model, fitted
from rtstyle.media.images import read_picture, write_picture

_PHOTOGRAPHS, _FRAMES = 40, 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    data: Annotated[Path, typer.Option(help="folder with SOURCES.csv and the teacher")]
    model: Annotated[Path | None, typer.Option(help="another model of masks")] = None
    sheet: Annotated[Path | None, typer.Option(help="a sheet of the photographs to write")] = None
    clip: Annotated[
        list[Path] | None,
        typer.Option(help="another clip; may be repeated", exists=True, dir_okay=False),
    ] = None


def main(argv: list[str]) -> int:
    """Measure and print."""
    options = parse(Options, argv, program="python -m benchmarks masks", about=__doc__)
    path = options.model or find_mask_model()
    teacher = Teacher(options.data / "selfie_segmentation.onnx")
    graph = open_graph(path, threads=1)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, in {graph.runtime}")
    scores, rows, times = list[float](), list[NDArray[np.uint8]](), list[float]()
    for file in _photographs(options.data):
        given, columns = fitted(read_picture(file)[0])
        wanted = teacher(given)[:, columns]
        if not holds_person(wanted):
            continue
        begin = perf_counter()
        found = graph.run(given[None])[0][:, :, columns]
        times.append(1e3 * (perf_counter() - begin))
        scores.append(iou(found[0], wanted))
        rows.append(_row(given[:, columns], wanted, *found))
        if len(scores) == _PHOTOGRAPHS:
            break
    print(
        f"{len(scores)} photographs: IoU {np.mean(scores):.3f} (median {np.median(scores):.3f}, "
        f"lowest {min(scores):.3f}, {sum(s >= 0.95 for s in scores)} of 0.95 or more); "
        f"the net alone {np.median(times):.2f} ms"
    )
    if options.sheet is not None:
        sheet = np.vstack([np.hstack(rows[i : i + 2]) for i in range(0, len(rows) - 1, 2)])
        write_picture(options.sheet, sheet, overwrite=True)
    clips = [_clip(options.data, name) for name in HELD_OUT] + (options.clip or [])
    for clip in clips:
        frames = list(islice(frames_of(clip), _FRAMES))
        small = [fitted(frame) for frame in frames]
        wanted_ = [teacher(given)[:, columns] for given, columns in small]
        raw = [graph.run(given[None])[0][0][:, columns] for given, columns in small]
        masks, size = PersonMasks(path), wanted_[0].shape[::-1]
        steadied = [
            cv2.resize(masks(Frame(f, Fraction(i, 25), i))["person"] / 255, size, interpolation=3)
            for i, f in enumerate(frames)
        ]
        pictures = [np.ascontiguousarray(given[:, columns]) for given, columns in small]
        usual = change_along_motion(wanted_, pictures)
        seen = [i for i, mask in enumerate(wanted_) if holds_person(mask)]
        if not seen:
            print(f"{clip.name}: the teacher finds nobody")
            continue
        turned = [_mirrored(teacher, *one) for one in small]
        agreed = [_mean_iou(found, wanted_, seen) for found in (raw, steadied, turned)]
        change, calm = (change_along_motion(each, pictures) / usual for each in (raw, steadied))
        print(
            f"{clip.name}, a person in {len(seen)} of {len(frames)} frames: IoU {agreed[0]:.3f}, "
            f"steadied {agreed[1]:.3f}, the teacher's own {agreed[2]:.3f}; change along the motion "
            f"{change:.2f} of the teacher's, steadied {calm:.2f}"
        )
    return 0


def _mean_iou(
    found: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]], seen: Sequence[int]
) -> float:
    return float(np.mean([iou(found[i], wanted[i]) for i in seen]))


def _mirrored(teacher: Teacher, given: NDArray[np.uint8], columns: slice) -> Mask:
    """What the teacher makes of the mirrored picture, turned back: how sure it is of its mask."""
    return teacher(np.ascontiguousarray(given[:, ::-1]))[:, ::-1][:, columns]


def iou(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Intersection over union of what both masks have above one half; 1 where neither has any."""
    first, second = one > 0.5, other > 0.5
    either = int((first | second).sum())
    return float((first & second).sum() / either) if either else 1.0


def change_along_motion(
    masks: Sequence[NDArray[Any]], pictures: Sequence[NDArray[np.uint8]]
) -> float:
    """The mean absolute change of the masks from frame to frame, moved as the pictures move."""
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    height, width = greys[0].shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    changes = []
    for (last, now), (before, after) in zip(pairwise(greys), pairwise(masks), strict=True):
        flow = cv2.calcOpticalFlowFarneback(now, last, np.empty(0), 0.5, 3, 15, 3, 5, 1.2, 0)
        places = (x + flow[..., 0]).astype(np.float32), (y + flow[..., 1]).astype(np.float32)
        moved = cv2.remap(before, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        changes.append(float(np.abs(after - moved).mean()))
    return float(np.mean(changes))


def _photographs(data: Path) -> list[Path]:
    with (data / "SOURCES.csv").open(encoding="utf-8") as rows:
        return [
            data / row["file"]
            for row in csv.DictReader(rows)
            if row["kind"] == "content" and row["tier"] == "B"
        ]


def _clip(data: Path, name: str) -> Path:
    return next(data.glob(f"*/{name}"))


def _row(picture: NDArray[np.uint8], *masks: Mask) -> NDArray[np.uint8]:
    """The picture, the teacher's mask, and the net's of people and of faces, side by side."""
    grey = [cv2.cvtColor((mask * 255).astype(np.uint8), cv2.COLOR_GRAY2RGB) for mask in masks]
    tiles = [cv2.resize(tile, (160, 90)) for tile in (picture, *grey)]
    return np.asarray(np.hstack(tiles), np.uint8)
