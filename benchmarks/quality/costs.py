"""What a net costs to keep and to run: parameters, multiplications and frames a second."""

from __future__ import annotations

from statistics import median

import numpy as np
import onnx

from benchmarks.gmac import count_macs
from rtstyle.bench.levels import latencies_ms
from rtstyle.engines import open_engine
from rtstyle.errors import ModelError
from rtstyle.model.spec import ModelSpec
from rtstyle.nets import ARCHITECTURES, build_net
from rtstyle.nets.checkpoint import load_checkpoint_net
from rtstyle.style.style import Style
from rtstyle.train.to_onnx import to_onnx

HEIGHT, WIDTH = 360, 640
SECONDS = 4.0  # of painting, to find the speed


def count_parameters(model: ModelSpec) -> int:
    """Trained numbers of the net; of a file from elsewhere, the floating numbers it holds."""
    if model.architecture in ARCHITECTURES:
        net = build_net(model.architecture, **model.options)
        return sum(parameter.numel() for parameter in net.parameters())
    graph = onnx.load(model.path).graph
    return sum(
        int(np.prod(tensor.dims))
        for tensor in graph.initializer
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    )


def count_gmac(model: ModelSpec) -> float | None:
    """Billions of multiplications for a frame of 640×360; None when the graph leaves it open.

    A checkpoint is exported to know, as the export takes multiplications out.
    """
    if model.path.suffix == ".safetensors":
        net, _ = load_checkpoint_net(model.path)
        graph = to_onnx(net, model)
        stride = int(net.stride)  # type: ignore[arg-type]
    else:
        graph, stride = onnx.load(model.path), model.stride
    height, width = _rounded_up(model, stride)
    try:
        return count_macs(graph, height=height, width=width) / 1e9
    except ModelError:
        return None


def frames_per_second(style: Style) -> tuple[float, str]:
    """How fast the engine alone paints 640×360 here, by the median picture, and on what."""
    with open_engine("auto", style.model) as engine:
        shape = (1, *_rounded_up(engine.model, engine.model.stride), 3)
        frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        engine.submit(frames, style.vector).result()  # compiles for this size
        times = latencies_ms(engine, [frames], style.vector, seconds=SECONDS)
        return 1e3 / median(times), f"{engine.name} on {engine.device}"


def _rounded_up(model: ModelSpec, stride: int) -> tuple[int, int]:
    if model.size:
        return model.size
    return -(-HEIGHT // stride) * stride, -(-WIDTH // stride) * stride
