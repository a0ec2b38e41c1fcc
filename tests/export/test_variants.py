"""Model files in half precision and in 8 bits: what is in the graph, and how near they paint."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export.__main__ import main
from rtstyle.engines import open_engine, torch_tensorrt_engine
from rtstyle.engines.half import Norms, element_types, fold_casts, to_half
from rtstyle.errors import EngineError, ModelError, UsageError
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.model.zoo import shipped_folder
from rtstyle.variants.int8 import to_int8
from rtstyle.variants.runners import runner
from rtstyle.variants.variant import write_variant
from tests import graphs

SHIPPED = sorted(shipped_folder().glob("*.onnx"))


def picture(height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("norms", ["fused", "split", "float"])
def test_half_is_where_it_should_be(norms: Norms, tiny_model: ModelSpec) -> None:
    model = to_half(onnx.load_model(tiny_model.path), norms=norms)
    kinds = element_types(model)
    of: dict[str, set[int]] = {}
    for node in model.graph.node:
        of.setdefault(node.op_type, set()).add(kinds[node.output[0]])
    half, single = {TensorProto.FLOAT16}, {TensorProto.FLOAT}
    assert of["Conv"] == of["Relu"] == of["Pad"] == half
    split = {n.output[0] for n in model.graph.node if n.output[0].endswith((".more", ".whole"))}
    adds = Counter(
        kinds[node.output[0]]
        for node in model.graph.node
        if node.op_type == "Add" and node.output[0] not in split
    )
    assert adds[TensorProto.FLOAT] == 1  # the contract's grain; those of the residuals are half
    assert adds[TensorProto.FLOAT16] > 0
    assert bool(split) == (norms != "float"), "norms after an enlargement in any case"
    expected = {"fused": half, "split": set(), "float": single}
    assert of.get("InstanceNormalization", set()) == expected[norms]
    assert of["Clip"] == single
    assert kinds["frame"] == kinds["stylized"] == TensorProto.UINT8
    assert {t.data_type for t in model.graph.initializer if len(t.dims) == 4} == half


def test_a_cast_is_made_once(tiny_model: ModelSpec) -> None:
    nodes = to_half(onnx.load_model(tiny_model.path)).graph.node
    casts = Counter((n.input[0], n.attribute[0].i) for n in nodes if n.op_type == "Cast")
    assert set(casts.values()) == {1}


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_variants_paint_alike(precision: str, tiny_model: ModelSpec, tmp_path: Path) -> None:
    output = tmp_path / "new" / "v.onnx"
    assert main([precision, str(tiny_model.path), "-o", str(output)]) == 0
    spec = read_model(output)
    assert spec.styles == tiny_model.styles
    assert spec.provenance["precision"] == precision
    limit = {"fp16": 1, "int8": 3}[precision]
    frame = picture()
    for runtime in ("openvino", "onnxruntime"):
        with open_engine(runtime, tiny_model) as engine:
            expected = engine.submit(frame).result().astype(np.int16)
        with open_engine(runtime, spec) as engine:
            assert np.abs(engine.submit(frame).result() - expected).mean() <= limit


def test_int8_runs_in_8_bits_under_openvino(tiny_model: ModelSpec, tmp_path: Path) -> None:
    """OpenVINO's own account of what it runs, not what the file asks for."""
    import openvino as ov

    model, left = to_int8(onnx.load_model(tiny_model.path), [{"frame": picture()}], max_mean=20)
    assert left == []
    path = tmp_path / "q.onnx"
    onnx.save_model(model, path)
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kinds = {
        info["runtimePrecision"].astype(str)
        for info in infos
        if info["layerType"].astype(str) == "Convolution"
    }
    assert kinds <= {"u8", "i8"}


def test_int8_leaves_float_what_costs_too_much(tiny_model: ModelSpec) -> None:
    feeds = [{"frame": picture()}]
    some, left = to_int8(onnx.load_model(tiny_model.path), feeds, max_mean=1.5)
    quantised = sum(node.op_type == "QuantizeLinear" for node in some.graph.node)
    assert 0 < len(left) < 8
    assert quantised
    none, all_left = to_int8(onnx.load_model(tiny_model.path), feeds, max_mean=0.0)
    assert len(all_left) == 8
    assert not any(node.op_type == "QuantizeLinear" for node in none.graph.node)


def test_values_that_are_no_numbers_are_found(tmp_path: Path) -> None:
    """A weight beyond half precision: in uint8 the NaN would look like black."""
    big = np.full((3, 3, 1, 1), 6e4, np.float32)
    spec = ModelSpec(Path("m"), "test", 1, ("a",))
    nodes = [
        helper.make_node("Cast", ["frame"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x", "big"], ["y"]),
        helper.make_node("InstanceNormalization", ["y", "one", "zero"], ["z"]),
        helper.make_node("Clip", ["z", "low", "high"], ["c"]),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["t"], ["stylized"], to=TensorProto.UINT8),
    ]
    arrays = {"big": big, "one": np.full(3, 50, np.float32), "zero": np.full(3, 99, np.float32),
              "low": np.float32(0), "high": np.float32(255)}  # fmt: skip
    frame = (TensorProto.UINT8, graphs.FREE)
    path = graphs.save(
        tmp_path / "m.onnx",
        nodes,
        {"frame": frame},
        {"stylized": frame},
        weights=[numpy_helper.from_array(np.asarray(v), n) for n, v in arrays.items()],
        metadata={"rtstyle": spec.metadata()},
    )
    with pytest.raises(ModelError, match="no numbers"):
        write_variant(path, tmp_path / "v.onnx", "fp16")
    assert not (tmp_path / "v.onnx").exists()


def test_tells_what_is_wrong(tiny_model: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would replace"):
        write_variant(tiny_model.path, tiny_model.path, "fp16")
    path = graphs.inverting(tmp_path / "m.onnx", peak=1.0)
    with pytest.raises(UsageError, match="rtstyle import"):
        write_variant(path, tmp_path / "v.onnx", "int8")
    with pytest.raises(ModelError, match="to quantise"):
        to_int8(onnx.load_model(path), [], max_mean=3)


@pytest.mark.parametrize("norms", ["fused", "split", "float"])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_half_graphs_paint_as_float_ones(path: Path, norms: Norms) -> None:
    """In every style, with every result rounded as the graph says."""
    spec, model = read_model(path), onnx.load_model(path)
    image = cv2.resize(picture(12, 16)[0], (128, 96), interpolation=cv2.INTER_CUBIC)
    styles = np.eye(max(1, spec.style_size), dtype=np.float32)
    if spec.style_input == "statistics":
        styles = np.random.default_rng(1).uniform(0, 1, (1, spec.style_size)).astype(np.float32)
    feed = {"frame": np.repeat(image[None], len(styles), axis=0)}
    if spec.style_size:
        feed["style"] = styles
    if spec.takes_strength:
        feed["strength"] = np.full(len(styles), 0.7, np.float32)
    half = runner(to_half(model, norms=norms), finite=True)
    difference = np.abs(runner(model)(feed).astype(int) - half(feed))
    assert difference.mean() <= 0.1
    assert np.percentile(difference, 99.9) <= 2


def rtx() -> Any:
    """TensorRT-RTX, whose builder needs no GPU."""
    return pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx builds for real")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_graph_builds_for_tensorrt(path: Path, tmp_path: Path) -> None:
    rtx()
    build = importlib.import_module("rtstyle.engines.tensorrt_plan")
    half = tmp_path / "half.onnx"
    model = to_half(fold_casts(onnx.load_model(path)), norms="split")
    onnx.save_model(model, half)
    spec = read_model(half)
    runtime = build.load_runtime("tensorrt-rtx")
    network = build.describe_network(runtime, half)
    convolutions = {kind for layer, kind in network if layer == "CONVOLUTION"}
    assert convolutions == {"HALF"}
    norms = {kind for layer, kind in network if layer == "NORMALIZATION"}
    # Those of a style bank's products are no pictures, and float as these are.
    assert norms - {"HALF"} == ({"FLOAT"} if path.stem == "stylebank" else set())
    assert path.stem == "stylebank" or not norms
    height, width = (side // spec.stride * spec.stride for side in (64, 96))
    shapes = spec.input_shapes(1, height, width)
    assert len(build.build_plan(runtime, half, shapes)) > 10_000


def test_plans_from_the_command_line(
    tiny_model: ModelSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rtx()
    half, plan = tmp_path / "half.onnx", tmp_path / "plans" / "tiny.plan"
    onnx.save_model(to_half(onnx.load_model(tiny_model.path)), half)
    message = ["tensorrt", str(half), "-o", str(plan), "--runtime", "tensorrt-rtx", "--size"]
    assert main([*message, "2x96x62"]) == 0
    assert "8 convolutions in float16, 0 in float32" in capsys.readouterr().out
    assert plan.stat().st_size > 10_000
    assert main([*message, "96"]) == 2
    assert "1280x720" in capsys.readouterr().err
    half.write_bytes(half.read_bytes()[:-500])
    assert main([*message, "96x64"]) == 1


def test_a_program_is_traced_without_kernels_and_run(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to where torch-tensorrt compiles what was traced, which is run as it is instead: no
    kernel may be launched while it is traced, as its tensors have no memory."""
    traced: list[Any] = []

    def compile_program(program: Any, arg_inputs: object, **settings: object) -> Any:
        traced.append(program)
        return program

    def save(program: Any, path: str, *, arg_inputs: object, extra_files: dict[str, str]) -> None:
        assert path.endswith(".pt2")
        with warnings.catch_warnings(action="ignore"):  # of weights that share memory
            torch.export.save(program, path, extra_files=extra_files)

    fake = ModuleType("torch_tensorrt")
    vars(fake).update(dynamo=SimpleNamespace(compile=compile_program), save=save, __version__="2")
    monkeypatch.setitem(sys.modules, "torch_tensorrt", fake)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *a, device=None, **k: zeros(*a, **k))
    checkpoint = tmp_path / "tiny.safetensors"
    checkpoint.write_bytes(tiny_checkpoint.read_bytes())
    assert main(["torch-tensorrt", str(checkpoint), "--size", "96x64"]) == 0
    (program,) = traced
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    assert {node.target.namespace for node in calls if hasattr(node.target, "namespace")} == {
        "aten"
    }
    kinds = {n.meta["val"].dtype for n in calls if "convolution" in str(n.target)}
    kinds |= {n.meta["val"].dtype for n in calls if "conv2d" in str(n.target)}
    assert kinds == {torch.float16}

    monkeypatch.setattr(torch, "zeros", zeros)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch_tensorrt_engine, "find_device", lambda number: torch.device("cpu"))
    model = read_model(checkpoint)
    with (
        torch_tensorrt_engine.TorchTensorRtEngine(model) as engine,
        open_engine("torch", model) as plain,
    ):
        frames = [picture() ^ np.uint8(i) for i in range(5)]
        pending = [engine.submit(frame) for frame in frames]
        for frame, p in zip(frames, pending, strict=True):
            expected = plain.submit(frame).result().astype(int)
            assert np.abs(p.result() - expected).mean() < 1
        with pytest.raises(EngineError, match="compiled for 1×96×64, not for 1×64×64"):
            engine.submit(picture(64, 64))


def test_programs_need_a_gpu(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "t.pt2"
    assert main(["torch-tensorrt", str(tiny_checkpoint), "-o", str(output), "--size", "64x64"]) == 1
    assert "torch-tensorrt" in capsys.readouterr().err
    assert not output.exists()
