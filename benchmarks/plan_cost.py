"""What a frame costs by the plan of TensorRT for RTX, whose builder needs no GPU."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rtstyle.errors import EngineError

_SIZES = {
    "Float": 4, "Half": 2, "BFloat16": 2, "Int32": 4, "Int64": 8, "UInt8": 1, "Int8": 1, "Bool": 1,
}  # fmt: skip
_TENSOR = re.compile(r"Name: ([^,]+), Dimensions: \[([\d,]*)\].*?Datatype: (\w+)")


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of a plan: its name, and what it reads and writes as (name, type, bytes)."""

    name: str
    kind: str  # "correlation" and "convolution" are those of convolutions
    reads: tuple[tuple[str, str, int], ...]
    writes: tuple[tuple[str, str, int], ...]

    @property
    def bytes(self) -> int:
        return sum(size for *_, size in (*self.reads, *self.writes))


def plan_kernels(
    graph: bytes, shapes: dict[str, tuple[int, ...]], *, architecture: str = "SM89"
) -> list[Kernel]:
    """The kernels that the builder chooses for an ONNX graph, inputs of `shapes` and GPUs of one
    `architecture`, in their order, as its log lists them. Raises `EngineError` where it cannot."""
    trt: Any = import_module("tensorrt_rtx")

    class Lines(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            self.lines += message.splitlines()

    log = Lines()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(graph):
        raise EngineError(f"TensorRT for RTX cannot read the graph: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1  # for several it takes fewer fused kernels
    config.set_compute_capability(getattr(trt.ComputeCapability, architecture), 0)
    profile = builder.create_optimization_profile()
    for name, shape in shapes.items():
        profile.set_shape(name, shape, shape, shape)
    config.add_optimization_profile(profile)
    if builder.build_serialized_network(network, config) is None:
        raise EngineError(f"TensorRT for RTX cannot build the graph: {log.lines[-1]}")
    kernels = [_kernel(line) for line in log.lines if re.match(r"Name: .*, LayerType: ", line)]
    if not kernels:
        raise EngineError("This version of TensorRT for RTX lists no kernels in its log.")
    return kernels


def _kernel(line: str) -> Kernel:
    name, kind = re.match(r"Name: (.*?), LayerType: (\w+)", line).groups()  # type: ignore[union-attr]
    inputs, rest = line.split("Inputs: [", 1)[1].split("], Constants: [", 1)
    outputs = rest.split("], Outputs: [", 1)[1].split("], TacticName", 1)[0]
    return Kernel(name, kind, _tensors(inputs), _tensors(outputs))


def _tensors(text: str) -> tuple[tuple[str, str, int], ...]:
    found = {}
    for name, dimensions, kind in _TENSOR.findall(text):
        count = math.prod(int(d) for d in dimensions.split(",") if d)
        found[name] = (name, kind, count * _SIZES[kind])
    return tuple(found.values())


def float_between_convolutions(kernels: list[Kernel], least: int) -> list[str]:
    """The float tensors of more than `least` bytes that are made after the first convolution and
    before the last, but for the sums within a fused norm, which are a hundredth of its picture."""
    convolutions = [i for i, kernel in enumerate(kernels) if kernel.kind == "correlation"]
    return [
        name
        for kernel in kernels[convolutions[0] : convolutions[-1]]
        for name, kind, size in kernel.writes
        if kind == "Float" and size > least and "_Inor_" not in kernel.name
    ]
