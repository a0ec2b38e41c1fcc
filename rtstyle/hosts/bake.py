"""One style of one model as a graph of its own, in the form that another program feeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from rtstyle.errors import ModelError, UsageError, needs_extra
from rtstyle.image import MIN_SIDE
from rtstyle.style.style import Style

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "input", "output"

# A host feeds pictures of any size: padded to the net's stride by reflection, at the bottom and on
# the right, as `rtstyle.image.prepare` does, and cropped again. Where the size is fixed, all of
# this is folded into constants.
_BEFORE = """
<ir_version: 10, opset_import: ["" : 18]>
before (float[1, 3, H, W] input) => (float[1, h, w, 3] frame) {{
    order = Constant<value_ints = [{order}]>()
    rgb = Gather<axis = 1>(input, order)
    scale = Constant<value_float = {scale}>()
    scaled = Mul(rgb, scale)
    least = Constant<value_float = 0.0>()
    most = Constant<value_float = 255.0>()
    levels = Clip(scaled, least, most)
    size = Shape<start = 2>(input)
    stride = Constant<value_ints = [{stride}]>()
    side = Constant<value_ints = [{side}]>()
    over = Mod(size, stride)
    short = Sub(stride, over)
    few = Mod(short, stride)
    even = Add(size, few)
    whole = Max(even, side)
    missing = Sub(whole, size)
    none = Constant<value_ints = [0, 0]>()
    pads = Concat<axis = 0>(none, none, none, missing)
    padded = Pad<mode = "reflect">(levels, pads)
    frame = Transpose<perm = [0, 2, 3, 1]>(padded)
}}
"""
_AFTER = """
<ir_version: 10, opset_import: ["" : 18]>
after (float[1, h, w, 3] stylized, int64[2] size) => (float[1, 3, H, W] output) {{
    planes = Transpose<perm = [0, 3, 1, 2]>(stylized)
    top_left = Constant<value_ints = [0, 0]>()
    axes = Constant<value_ints = [2, 3]>()
    cropped = Slice(planes, top_left, size, axes)
    order = Constant<value_ints = [{order}]>()
    ordered = Gather<axis = 1>(cropped, order)
    scale = Constant<value_float = {scale}>()
    output = Mul(ordered, scale)
}}
"""


@dataclass(frozen=True, slots=True)
class Form:
    """How a host hands a picture over and takes it back: float32 (1, 3, H, W).

    `peak` is the value of white, `order` the channels from first to last. `is_fixed` hosts take
    graphs of one size alone.
    """

    peak: float = 1.0
    order: str = "RGB"
    is_fixed: bool = False


def bake(style: Style, form: Form, size: tuple[int, int] | None = None) -> ModelProto:
    """The graph of `style` alone for frames of `size`, (height, width), or of any size with None.

    Its one input and output are float32 (1, 3, H, W) as `form` says. Raises `UsageError` for a size
    that the net cannot paint, `ModelError` for a model that has none of our own graphs.
    """
    spec = style.model
    if spec.layout != "nhwc" or spec.path.suffix != ".onnx":
        raise ModelError(
            f"{spec.path.name} is no model file that rtstyle wrote; import it first with "
            "rtstyle import, and name what that wrote."
        )
    if spec.size is not None and size not in (None, spec.size):
        raise UsageError(
            f"{spec.path.name} paints {spec.size[1]}×{spec.size[0]} alone; leave --size out."
        )
    size = size or spec.size
    if size is not None and min(size) < MIN_SIDE:
        raise UsageError(f"A frame must have {MIN_SIDE} pixels a side or more, not {size}.")
    with needs_extra("train", "Writing a file for another program"):
        import onnx
        import onnxruntime  # folds what is constant
        from onnx import compose, numpy_helper, parser

    model = onnx.load(spec.path)
    graph = model.graph
    constants = {"style": style.vector, "strength": np.ones(1, np.float32)}
    for value in [value for value in graph.input if value.name != spec.frame_input]:
        constant = constants.get(value.name)
        if constant is None:
            raise ModelError(
                f"{spec.path.name} has an input {value.name} that nothing is known of."
            )
        graph.initializer.append(numpy_helper.from_array(constant, value.name))
        graph.input.remove(value)
    order = ", ".join(str(form.order.index(channel)) for channel in "RGB")
    words: dict[str, Any] = {"order": order, "stride": f"{spec.stride}, {spec.stride}"}
    least = max(MIN_SIDE, 2 * spec.stride)
    before = parser.parse_model(
        _BEFORE.format(scale=255 / form.peak, side=f"{least}, {least}", **words)
    )
    after = parser.parse_model(_AFTER.format(scale=form.peak / 255, **words))
    # the net computes in float after its first node, and rounds before its last: the frame stays
    # float from end to end, which is what hosts without uint8 need
    _make_float(model, spec.frame_input)
    before.graph.output.append(onnx.helper.make_tensor_value_info("size", 7, [2]))
    for part in (before, after):
        part.opset_import[0].version = model.opset_import[0].version
        part.ir_version = model.ir_version
    compose.add_prefix(before, "before.", rename_inputs=False, rename_outputs=False, inplace=True)
    compose.add_prefix(after, "after.", rename_inputs=False, rename_outputs=False, inplace=True)
    whole = compose.merge_models(
        before, model, io_map=[("frame", spec.frame_input)], outputs=["stylized", "size"]
    )
    whole = compose.merge_models(whole, after, io_map=[("stylized", "stylized"), ("size", "size")])
    del whole.metadata_props[:]
    whole.graph.name = style.name
    if size is not None:
        for value in (whole.graph.input[0], whole.graph.output[0]):
            for axis, length in zip((2, 3), size, strict=True):
                value.type.tensor_type.shape.dim[axis].dim_value = length
    return _folded(whole, onnxruntime)


def _make_float(model: ModelProto, frame: str) -> None:
    """Let the graph take its frame, and give its picture, in float32 instead of uint8."""
    from onnx import TensorProto

    graph = model.graph
    last = next(node for node in graph.node if graph.output[0].name in node.output)
    if last.op_type != "Cast":
        raise ModelError(
            f"The graph {graph.name} ends in {last.op_type}, expected a cast to uint8."
        )
    for attribute in last.attribute:
        if attribute.name == "to":
            attribute.i = TensorProto.FLOAT
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    graph.output[0].name, last.output[0] = "stylized", "stylized"


def _folded(model: ModelProto, ort: Any) -> ModelProto:
    """The graph with everything that is constant folded by ONNX Runtime, in standard operators."""
    import onnx

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(path)
    onnx.checker.check_model(folded)
    return folded
