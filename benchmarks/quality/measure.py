"""All figures of one entry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.clips import Clip
from benchmarks.quality.costs import count_gmac, count_parameters, frames_per_second
from benchmarks.quality.davis import Motion, flows, read_frames, steadied
from benchmarks.quality.davis import motion as clip_motion
from benchmarks.quality.entries import Entry
from benchmarks.quality.faces import Portraits, faces_kept
from benchmarks.quality.frontier import Frontiers, pareto_ratio
from benchmarks.quality.judge import Judge, as_tensor
from benchmarks.quality.look import Judges, Look
from benchmarks.quality.near_frontier import NearFrontiers
from benchmarks.quality.noise import noise_gain, tremble
from benchmarks.quality.remembered import Remembered, file_key
from benchmarks.quality.synthetic_flow import move
from benchmarks.quality.training import training_of
from benchmarks.quality.warping import warping_error
from rtstyle.engines import open_engine

Picture = NDArray[np.uint8]  # (H, W, 3)
Paint = Callable[[Picture], Picture]
Figure = dict[str, Any]  # plain JSON


@dataclass(frozen=True)
class Material:
    """What every entry is measured on: photographs of one size, the numbers of those that are
    compared with a frontier, clips, and where to keep things.

    `loss_net` tells the perceptual network's weights apart, `judging_nets` those of the independent
    judges. The photographs `compared_in_vgg16` have Pareto ratios by `near`. `davis` are the clips
    of the public protocol, `portraits` where faces are looked for.
    """

    photos: Sequence[Picture]
    compared: Sequence[int]
    clips: Sequence[Clip]
    frontiers: Frontiers
    remembered: Remembered
    loss_net: str
    judging_nets: tuple[str, ...] = ()
    near: NearFrontiers | None = None
    compared_in_vgg16: Sequence[int] = ()
    davis: Sequence[Path] = ()
    portraits: Portraits | None = None


def measure(
    entry: Entry,
    judge: Judge | None,
    material: Material,
    *,
    speed: bool,
    independent: Judges | None = None,
) -> Figure:
    """The figures by name, as plain JSON; what cannot be or was not measured is absent.

    `judge` and the `independent` ones are those of the entry's painting, None when there are none.
    """
    model = entry.style.model
    vector = entry.style.vector
    steered = "" if vector is None else hashlib.sha256(vector.tobytes()).hexdigest()
    net = [file_key(model.path), steered]
    photos = [hashlib.sha256(photo.tobytes()).hexdigest() for photo in material.photos]
    remembered = material.remembered

    figures: Figure = {}
    with open_engine("auto", model) as engine:

        def paint(picture: Picture) -> Picture:
            painted: Picture = engine.submit(picture[None], vector).result()[0]
            return painted

        figures |= remembered.get(
            "stability", [*net, photos], lambda: stability(paint, material.photos)
        )
        if judge is not None:
            kept = judge  # for the closure
            figures |= remembered.get(
                "look",
                [*net, photos, list(material.compared), judge.key, material.loss_net,
                 material.frontiers.steps],
                lambda: look(paint, material, kept),
            )  # fmt: skip
        if independent is not None:
            judges = independent  # for the closure
            figures |= remembered.get(
                "independent",
                [*net, photos, judges.key, *material.judging_nets],
                lambda: independent_look(paint, material, judges),
            )
            if material.near is not None and material.compared_in_vgg16:
                near = material.near  # for the closure
                figures |= remembered.get(
                    "pareto_vgg16",
                    [*net, [photos[i] for i in material.compared_in_vgg16], judges.key,
                     *material.judging_nets, near.steps],
                    lambda: pareto_in_vgg16(paint, material, judges, near),
                )  # fmt: skip
        if material.davis:
            figures |= remembered.get(
                "davis",
                [*net, "steadied", [file_key(path) for path in material.davis]],
                lambda: motion_on_davis(paint, material.davis),
            )
        if material.portraits is not None:
            portraits = material.portraits  # for the closure
            pixels = [hashlib.sha256(photo.tobytes()).hexdigest() for photo in portraits.photos]
            figures |= remembered.get(
                "faces", [*net, pixels, portraits.key], lambda: faces(paint, portraits)
            )
        if material.clips:
            figures |= remembered.get(
                "clips",
                [*net, [clip.key() for clip in material.clips]],
                lambda: motion(paint, material.clips),
            )
    figures |= remembered.get("costs", net[:1], lambda: costs(entry))
    if speed:
        fps, machine = frames_per_second(entry.style)
        figures |= {"fps": _short(fps), "fps_machine": machine}
    training = training_of(model)
    known = {"updates": training.updates, "seconds_per_1000_updates": training.seconds_per_1000}
    if training.recipe:
        known["style_loss_trained_with"] = training.recipe.get("style_loss", "gram")
        known["loss_net"] = training.recipe.get("loss_net")
    return figures | {name: value for name, value in known.items() if value is not None}


def look(paint: Paint, material: Material, judge: Judge) -> Figure:
    """Against the painting: losses, Pareto ratio, and how far from the photograph it went.

    `style_gap_closed` is 1 − style loss / style loss of the photograph itself, `pixels_moved` is
    ‖S(x) − x‖ / ‖x‖: both 0 for a net that paints nothing.
    """
    found: dict[str, list[float]] = {
        name: []
        for name in ("pareto_ratio", "style_loss", "content_loss", "style_gap_closed",
                     "pixels_moved")
    }  # fmt: skip
    for number, photo in enumerate(material.photos):
        painted, x = paint(photo), as_tensor(photo)
        losses = judge.losses(as_tensor(painted), x)
        before = judge.losses(x, x).style
        moved = np.linalg.norm(painted.astype(float) - photo) / np.linalg.norm(photo.astype(float))
        if number in material.compared:
            frontier = material.frontiers.of(judge, photo)
            found["pareto_ratio"].append(pareto_ratio(losses, frontier))
        found["style_loss"].append(losses.style)
        found["content_loss"].append(losses.content)
        found["style_gap_closed"].append(1 - losses.style / before)
        found["pixels_moved"].append(float(moved))
    return {name: _over_photographs(values) for name, values in found.items()}


def independent_look(paint: Paint, material: Material, judges: Judges) -> Figure:
    """Against painting and photograph in VGG-16 and in AlexNet."""
    looks = [judges.look(as_tensor(paint(photo)), as_tensor(photo)) for photo in material.photos]
    return {name: _over_photographs([getattr(k, name) for k in looks]) for name in Look._fields}


def pareto_in_vgg16(
    paint: Paint, material: Material, judges: Judges, near: NearFrontiers
) -> Figure:
    """By which factor Gatys et al. are missed in VGG-16."""
    photos = [material.photos[i] for i in material.compared_in_vgg16]
    ratios = [
        near.ratio(judges, photo, judges.look(as_tensor(paint(photo)), as_tensor(photo)))
        for photo in photos
    ]
    return {"pareto_vgg16": _over_photographs(ratios)}


def motion_on_davis(paint: Paint, clips: Sequence[Path]) -> Figure:
    """Warping error and texture by the public protocol, without and with the filter against
    flicker: the mean over clips, and each."""
    found: dict[str, dict[str, Motion]] = {"davis": {}, "davis_steady": {}}
    for path in clips:
        frames = read_frames(path)
        along, painted = flows(frames), [paint(frame) for frame in frames]
        found["davis"][path.stem] = clip_motion(painted, along)
        found["davis_steady"][path.stem] = clip_motion(steadied(frames, painted), along)
    return {
        f"{protocol}_{name}": {
            "mean": _short(fmean(getattr(motion, name) for motion in each.values())),
            "each": {clip: _short(getattr(motion, name)) for clip, motion in each.items()},
        }
        for protocol, each in found.items()
        for name in Motion._fields
    }


def faces(paint: Paint, portraits: Portraits) -> Figure:
    """How much of the faces survives, over all of them."""
    kept = [
        share
        for photo in portraits.photos
        for share in faces_kept(portraits.finder.find, photo, paint(photo))
    ]
    return {"faces_kept": {"mean": _short(fmean(kept)), "each": [_short(share) for share in kept]}}


def stability(paint: Paint, photos: Sequence[Picture]) -> Figure:
    """What a net makes of noise and of a motion known exactly, on still photographs."""
    noise, motion = np.random.default_rng(0), np.random.default_rng(1)
    gains, errors = [], []
    for photo in photos:
        painted = paint(photo)
        trembling = tremble(photo, noise)
        gains.append(noise_gain(photo, trembling, painted, paint(trembling)))
        moved, flow, seen = move(photo, motion)
        error = warping_error(paint(moved), painted, flow, seen)
        if error is not None:
            errors.append(error)
    return {"noise_gain": _over_photographs(gains)} | (
        {"warping_error_synthetic": _over_photographs(errors)} if errors else {}
    )


def motion(paint: Paint, clips: Sequence[Clip]) -> Figure:
    """The warping error on real clips: the mean, as Lai et al. 2018 give it, and each."""
    each = {clip.name: _short(error) for clip in clips if (error := clip.error(paint)) is not None}
    return {"warping_error_clips": {"mean": _short(fmean(each.values())), "each": each}}


def costs(entry: Entry) -> Figure:
    """Parameters and multiplications."""
    gmac = count_gmac(entry.style.model)
    counted: Figure = {"parameters": count_parameters(entry.style.model)}
    return counted if gmac is None else counted | {"gmac": _short(gmac)}


def _over_photographs(values: list[float]) -> Figure:
    return {"median": _short(median(values)), "each": [_short(value) for value in values]}


def _short(value: float) -> float:
    return float(f"{value:.5g}")
