"""The training of masks: from pictures and a teacher to a net that frames can be given to."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from export.person_mask import PersonNet, Recipe, Training, write
from export.person_samples import Drawing, Example, Samples
from rtstyle.frame import Frame
from rtstyle.masks import HEIGHT, WIDTH, PersonMasks

FACE = (0.42, 0.3, 0.16, 0.2)


def _example(red: bool) -> Example:
    """A red person with a face, or a grey wall."""
    picture = np.random.default_rng(0).integers(90, 130, (180, 320, 3)).astype(np.uint8)
    if red:
        picture[50:, 110:210] = (220, 30, 30)
    return Example(picture, np.array([FACE] if red else [], np.float32).reshape(-1, 4))


def _teacher(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Who is red is a person."""
    reddish = picture[..., 0].astype(int) - picture[..., 1]
    return (reddish > 60).astype(np.float32)


def _samples(n_samples: int) -> Samples:
    drawing = Drawing([_example(red=True), _example(red=False)], _teacher, seed=0)
    return Samples.draw(drawing, n_samples)


def test_a_student_learns_goes_on_and_finds_people(tmp_path: Path) -> None:
    recipe = Recipe(updates=60, batch=4, rate=2e-2, warm_up=4, at_half_size=0.9)
    samples = _samples(12)
    samples.save(tmp_path / "samples")
    training = Training(Samples.load(tmp_path / "samples"), recipe, PersonNet((8, 12, 16)))
    losses = list[float]()
    while training.share < 0.5:
        training.update()
        losses.append(training.loss)
    training.save(tmp_path / "checkpoint.pt")
    again = Training(samples, recipe, PersonNet((8, 12, 16)))
    again.load(tmp_path / "checkpoint.pt")
    assert again.step == training.step == 30
    while again.share < 1:
        again.update()
        losses.append(again.loss)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])

    write(again.net.eval(), tmp_path / "person.onnx", samples.pictures)
    n_weights = sum(p.numel() for p in again.net.parameters())
    for file, each in ((tmp_path / "person.onnx", 2), (tmp_path / "int8" / "person.onnx", 1)):
        assert file.stat().st_size < 1.3 * each * n_weights + 60_000
        picture = _example(red=True).picture
        found = PersonMasks(file)(Frame(picture, Fraction(0), 0))
        person = found["person"]
        assert person[100:, 130:190].mean() > person[:, :60].mean() + 0.3 * 255


def test_labels_lie_where_the_people_are() -> None:
    samples = _samples(16)
    assert samples.pictures.shape == (16, HEIGHT, WIDTH, 3)
    pictures, masks, known = samples.batch(np.random.default_rng(3), 16)
    assert known.all()
    assert len({picture.tobytes() for picture in pictures}) > 8
    reddish = samples.pictures[..., 0].astype(int) - samples.pictures[..., 1]
    wanted = reddish > 60
    np.testing.assert_array_equal(samples.masks[:, 0] > 127, wanted)
    assert wanted.any()
    assert not wanted.all()
    with_face = samples.masks[:, 1].max((1, 2)) > 127
    assert with_face.any()
    faces = samples.masks[with_face, 1] > 127
    assert (wanted[with_face] & faces).sum() > 0.9 * faces.sum()
    assert masks.shape == (16, 2, HEIGHT, WIDTH)


def test_the_net_gives_both_masks_at_the_size_of_the_picture() -> None:
    logits = PersonNet((8, 8, 8)).eval()(torch.zeros(1, 3, 96, 160))
    assert logits.shape == (1, 2, 96, 160)
