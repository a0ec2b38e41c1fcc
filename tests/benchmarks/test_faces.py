"""How much of a face survives, with a detector that takes bright squares for faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.quality.faces import FaceFinder, faces_kept
from rtstyle.errors import InputNotFoundError, ModelError

SIDE = 32.0  # of every box, in pixels of the enlarged picture


def make_finder(path: Path) -> Path:
    """An ONNX file with CenterFace's outputs: how bright each cell of four pixels is."""
    shapes = {"heat": 1, "scale": 2, "offset": 2, "landmarks": 10}
    zeros = {name: np.zeros((n, 3, 1, 1), np.float32) for name, n in shapes.items()}
    zeros["heat"] += 1 / (3 * 255)
    bias = {name: np.zeros(n, np.float32) for name, n in shapes.items()}
    bias["scale"] += np.log(SIDE / 4)
    nodes = [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[4, 4], strides=[4, 4])]
    nodes += [helper.make_node("Conv", ["y", f"{n}.w", f"{n}.b"], [n]) for n in shapes]
    weights = [numpy_helper.from_array(value, f"{name}.w") for name, value in zeros.items()]
    weights += [numpy_helper.from_array(value, f"{name}.b") for name, value in bias.items()]
    graph = helper.make_graph(
        nodes,
        "faces",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, 8, 8])
            for name, count in shapes.items()
        ],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def _portrait(brightness: int) -> NDArray[np.uint8]:
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[40:48, 64:72] = brightness
    return picture


def test_a_face_is_kept_as_far_as_the_detector_still_sees_it(tmp_path: Path) -> None:
    finder = FaceFinder(make_finder(tmp_path / "finder.onnx"))
    photo = _portrait(250)
    (face,) = finder.find(photo)
    left, top, width, height = face.box
    assert face.score > 0.9
    assert (width, height) == pytest.approx((SIDE / 2, SIDE / 2))
    assert (left + width / 2, top + height / 2) == pytest.approx((68, 44), abs=4)
    assert faces_kept(finder.find, photo, photo) == [1.0]
    (half,) = faces_kept(finder.find, photo, _portrait(125))
    assert 0.4 < half < 0.6
    assert faces_kept(finder.find, photo, np.roll(photo, 40, axis=1)) == [0.0]
    assert faces_kept(finder.find, _portrait(0), photo) == []


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="There is no"):
        FaceFinder(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match="cannot be read"):
        FaceFinder(tmp_path / "text.onnx")
    model = onnx.load(make_finder(tmp_path / "finder.onnx"))
    del model.graph.output[3]
    onnx.save(model, tmp_path / "three.onnx")
    with pytest.raises(ModelError, match="is no CenterFace"):
        FaceFinder(tmp_path / "three.onnx")
