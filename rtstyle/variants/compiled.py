"""Programs for one frame size on one kind of GPU: TensorRT plans, torch-tensorrt programs."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch

from rtstyle.engines.cuda.device import Cuda
from rtstyle.engines.half import HALF, element_types
from rtstyle.engines.precision import in_half
from rtstyle.engines.tensorrt_plan import PlanCache, build_plan, describe_network, load_runtime
from rtstyle.errors import EngineError, ModelError, OutputError, UsageError
from rtstyle.files import atomic_write
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec

Size = tuple[int, int, int]  # N, H, W


def size_of(text: str) -> Size:
    """ "1280x720" or "2x1280x720" (two pictures at once) as (N, H, W)."""
    try:
        *count, width, height = (int(part) for part in text.lower().split("x"))
        (n,) = count or (1,)
    except ValueError:
        raise UsageError(f"A size is written as 1280x720 or 2x1280x720, not {text!r}.") from None
    if min(n, width, height) < 1:
        raise UsageError(f"A size is at least 1x1, not {text!r}.")
    return n, height, width


def write_plan(
    model: Path, output: Path | None, size: Size, *, runtime: str, device: int = 0
) -> dict[str, int]:
    """Build `model` for pictures of `size`, rounded up to its stride, on the GPU `device`.

    The plan goes to `output`, or without one into the cache, where the engine finds it on the same
    machine. Gives how many layers of each kind and type the network has. Raises `EngineError` when
    it cannot be built, `ModelError` when the graph says half precision and the network does not.
    """
    spec = read_model(model)
    loaded = load_runtime(runtime)
    if output is None:
        model = in_half(spec, norms="split").path  # which the engine loads
    layers: dict[str, int] = {}
    for kind, element in describe_network(loaded, model):
        layers[f"{kind} {element}"] = layers.get(f"{kind} {element}", 0) + 1
    _require_half(model, layers)
    shapes = shapes_of(spec, size)
    if output is not None:
        plan = build_plan(loaded, model, shapes)
        _write(output, plan)
    else:
        PlanCache(loaded, Cuda(device).gpu, model).build(shapes)
    return layers


def shapes_of(spec: ModelSpec, size: Size) -> dict[str, tuple[int, ...]]:
    """The shape of every input of the model for pictures of `size`, rounded up to the stride."""
    n, height, width = size
    height, width = (-(-side // spec.stride) * spec.stride for side in (height, width))
    if spec.layout != "nhwc":
        raise UsageError(f"{spec.path.name} takes float pictures; import it first.")
    return spec.input_shapes(n, height, width)


def write_program(checkpoint: Path, output: Path, size: Size) -> None:
    """Compile a checkpoint by torch-tensorrt in half precision, for the GPU of this machine.

    The precision is in the net itself: newer versions silently ignore an option for it. Raises
    `EngineError` without torch-tensorrt or a GPU, or when it does not compile.
    """
    from rtstyle.engines.torch_modules import half_net
    from rtstyle.nets.checkpoint import load_checkpoint_net
    from rtstyle.nets.contract import Contract

    spec = read_model(checkpoint)
    net, _ = load_checkpoint_net(checkpoint)
    spec = _with_stride(spec, net)
    shapes = shapes_of(spec, size)
    try:
        trt: Any = import_module("torch_tensorrt")
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineError(f"torch-tensorrt cannot be loaded ({error}).") from None
    if not torch.cuda.is_available():
        raise EngineError("torch-tensorrt compiles for the GPU in the machine; there is none.")
    wrapped = Contract(half_net(net)).eval().cuda()
    inputs = [
        torch.zeros(shape, dtype=torch.uint8 if len(shape) == 4 else torch.float32, device="cuda")
        for shape in shapes.values()
    ]
    settings: dict[str, Any] = {"min_block_size": 1, "truncate_double": True}
    if "use_explicit_typing" in inspect.signature(trt.dynamo.compile).parameters:
        settings["use_explicit_typing"] = True
    try:
        with (
            atomic_write(output, parents=True) as part,
            TemporaryDirectory(prefix="rtstyle-program-", dir=part.parent) as folder,
            torch.inference_mode(),
        ):
            file = Path(folder) / "program.pt2"  # the suffix says its format
            program = torch.export.export(wrapped, tuple(inputs), strict=False)
            compiled = trt.dynamo.compile(program, arg_inputs=inputs, **settings)
            frames = json.dumps({"frames": [list(shapes[spec.frame_input][:3])]})
            trt.save(compiled, str(file), arg_inputs=inputs, extra_files={"rtstyle": frames})
            file.replace(part)
    except OSError as error:
        raise OutputError(f"{output} cannot be written ({error}).") from error
    except RuntimeError as error:
        raise EngineError(
            f"torch-tensorrt cannot compile {checkpoint.name}: {str(error).splitlines()[0]}"
        ) from error


def _with_stride(spec: ModelSpec, net: torch.nn.Module) -> ModelSpec:
    return replace(spec, stride=int(net.stride))  # type: ignore[arg-type]


def _require_half(model: Path, layers: dict[str, int]) -> None:
    """An fp16 graph must give fp16 convolutions: a runtime that thinks otherwise says nothing."""
    graph = onnx.load_model(model)
    kinds = element_types(graph)
    half = sum(n.op_type == "Conv" and kinds[n.output[0]] == HALF for n in graph.graph.node)
    if half > layers.get("CONVOLUTION HALF", 0):
        raise ModelError(
            f"{model.name} has {half} convolutions in half precision, the network only "
            f"{layers.get('CONVOLUTION HALF', 0)}; this version of the runtime cannot be used."
        )


def _write(output: Path, content: bytes) -> None:
    try:
        with atomic_write(output, parents=True) as part:
            part.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{output} cannot be written ({error}).") from error
