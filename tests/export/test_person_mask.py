"""The training of masks: from pictures and a teacher to a net that frames can be given to."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from export.person_mask import Recipe, Training, write
from export.person_net import TEACHER, Features, PersonNet, Plan, Row, read_teacher
from export.person_samples import Drawing, Example, Samples, read_material
from rtstyle.errors import InputNotFoundError, ModelError
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


def _net(extra: int = 0) -> PersonNet:
    """A small one, or with further channels a student of it."""
    rows = (
        Row(8, 8, stride=2, attends=True), Row(16, 8, extra, stride=2), Row(16, 8, extra),
        Row(16, 12, extra, 5, 2, swish=True, attends=True),
    )  # fmt: skip
    return PersonNet(Plan(rows, joint=16, extra=extra))


def test_a_student_learns_goes_on_and_finds_people(tmp_path: Path) -> None:
    torch.manual_seed(3)
    teacher = _net().requires_grad_(False)
    recipe = Recipe(
        updates=80, batch=4, rate=2e-2, warm_up=4, forced=0.3, at_half_size=0.9, hint_weight=0.03
    )
    samples = _samples(12)
    samples.save(tmp_path / "samples")
    training = Training(Samples.load(tmp_path / "samples"), teacher, recipe, _net(extra=8))
    losses, hints = list[float](), list[float]()
    while training.share < 0.5:
        training.update()
        losses.append(training.loss)
        hints.append(training.hint)
    training.save(tmp_path / "checkpoint.pt")
    again = Training(samples, teacher, recipe, _net(extra=8))
    again.load(tmp_path / "checkpoint.pt")
    assert again.step == training.step == 40
    while again.share < 1:
        again.update()
        losses.append(again.loss)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert np.mean(hints[19:24]) < 0.7 * np.mean(hints[:5])  # each stage for itself

    write(again.net.eval(), file := tmp_path / "person.onnx")
    n_weights = sum(p.numel() for p in again.net.parameters())
    assert file.stat().st_size < 2.6 * n_weights + 60_000
    found = PersonMasks(file)(Frame(_example(red=True).picture, Fraction(0), 0))
    person = found["person"]
    assert person[100:, 130:190].mean() > person[:, :60].mean() + 0.3 * 255


def test_what_is_forced_goes_on_beside_the_students_own_channels() -> None:
    torch.manual_seed(0)
    teacher, student = _net().eval(), _net(extra=8).eval()
    x = torch.rand(2, 3, 96, 160)
    taught, free, forced = Features(), Features(), Features()
    teacher(x, taught)
    student(x, free)
    forced.forced = taught.made
    student(x, forced)
    assert [a.shape for a in forced.made] == [a.shape for a in taught.made]
    torch.testing.assert_close(forced.made[0], free.made[0])  # of the picture, as always
    assert all(not torch.equal(a, b) for a, b in zip(forced.made[1:], free.made[1:], strict=True))


def _as_mediapipe(net: PersonNet) -> onnx.ModelProto:
    """A file with the layers of MediaPipe's: gates in matrices, logits by a transposed
    convolution. It does not run."""
    nodes, arrays = list[onnx.NodeProto](), list[onnx.TensorProto]()

    def add(kind: str, *weights: torch.Tensor) -> None:
        names = [f"w{len(arrays) + i}" for i in range(len(weights))]
        nodes.append(onnx.helper.make_node(kind, ["x", *names], [f"y{len(nodes)}"]))
        given = zip(weights, names, strict=True)
        arrays.extend(numpy_helper.from_array(w.detach().numpy(), name) for w, name in given)

    for name, layer in net.named_modules():
        if not isinstance(layer, torch.nn.Conv2d) or name in ("head", "coarse"):
            continue
        outputs = layer.out_channels
        bias = torch.rand(outputs) if layer.bias is None else layer.bias
        if ".gate." in name and "blocks" in name:
            add("MatMul", layer.weight.reshape(outputs, -1).T)
            add("Add", bias)
        else:
            add("Conv", layer.weight, bias)
    add("ConvTranspose", torch.rand(16, 2, 2, 2))
    add("Add", torch.rand(2))
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], arrays))


def test_a_teacher_is_read_and_one_of_another_shape_refused(tmp_path: Path) -> None:
    net = PersonNet(TEACHER)
    onnx.save(model := _as_mediapipe(net), file := tmp_path / "teacher.onnx")
    teacher = read_teacher(file)
    kernels = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    deep = teacher.blocks[4]
    assert torch.equal(deep.gate.first.weight, net.blocks[4].gate.first.weight)
    assert torch.equal(deep.filter[0].weight, net.blocks[4].filter[0].weight)
    # Of the two logits, the second is of the person.
    names = [node.input[1] for node in model.graph.node[-2:]]
    kernel, bias = (kernels[name] for name in names)
    x = torch.rand(1, 16, 3, 5)
    logits = torch.conv_transpose2d(x, torch.tensor(kernel), torch.tensor(bias), stride=2)
    found = torch.pixel_shuffle(teacher.head(x), 2)[:, :1]
    torch.testing.assert_close(found, logits[:, 1:] - logits[:, :1])

    del model.graph.node[5]
    onnx.save(model, file)
    with pytest.raises(ModelError, match="layers, not"):
        read_teacher(file)


def test_a_folder_without_pictures_or_teacher_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"SOURCES\.csv, which lists"):
        read_material(tmp_path)
    with pytest.raises(InputNotFoundError, match="MediaPipe's selfie segmentation"):
        read_teacher(tmp_path / "teacher.onnx")
    (tmp_path / "teacher.onnx").write_text("no model")
    with pytest.raises(ModelError, match="is no ONNX file"):
        read_teacher(tmp_path / "teacher.onnx")


def test_labels_lie_where_the_people_are() -> None:
    samples = _samples(16)
    assert samples.pictures.shape == (16, HEIGHT, WIDTH, 3)
    batch = samples.batch(np.random.default_rng(3), 16)
    assert batch.has_faces.all()
    assert len({picture.tobytes() for picture in batch.seen}) > 8
    alike = [np.array_equal(*both) for both in zip(batch.seen, batch.clear, strict=True)]
    assert all(alike[8:])
    assert sum(alike[:8]) < 4  # where there was no noise either
    reddish = samples.pictures[..., 0].astype(int) - samples.pictures[..., 1]
    wanted = reddish > 60
    np.testing.assert_array_equal(samples.masks[:, 0] > 127, wanted)
    assert wanted.any()
    assert not wanted.all()
    with_face = samples.masks[:, 1].max((1, 2)) > 127
    assert with_face.any()
    faces = samples.masks[with_face, 1] > 127
    assert (wanted[with_face] & faces).sum() > 0.9 * faces.sum()
    assert batch.masks.shape == (16, 2, HEIGHT, WIDTH)


def test_the_net_gives_both_masks_at_the_size_of_the_picture() -> None:
    logits = _net().eval()(torch.zeros(1, 3, 96, 160))
    assert logits.shape == (1, 2, 96, 160)
