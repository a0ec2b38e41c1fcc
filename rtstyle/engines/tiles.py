"""Pictures too large for the memory, stylized in tiles under one set of norm statistics.

Instance norm takes mean and variance of the whole picture, so tiles stylized by themselves do not
fit together. As in Chen et al. 2022, "Towards Ultra-Resolution Neural Style Transfer via Thumbnail
Instance Normalization", the statistics are those of a thumbnail, and every tile is normalized by
them. Tiles overlap by more than what a net sees around a pixel, so that there are no seams.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
import openvino as ov
from openvino import opset13 as ops

from rtstyle.engines.base import Batch, StyleVector
from rtstyle.engines.batch import to_batch, to_inputs
from rtstyle.frame import Image
from rtstyle.model.spec import ModelSpec

MAX_WHOLE = 2_100_000  # pixels of a picture that is stylized at once
_MAX_TILE = 1_300_000  # pixels; less memory than larger ones, for somewhat more margins to paint
MARGIN = 128  # pixels that a tile reaches into its neighbours; the nets see less far
_THUMBNAIL = 1_000_000  # pixels, at most
_NAME = "statistic"  # of the tensors that hold them, with a number
_APART = 8  # pixels between the knots of the grain, see `rtstyle.nets.contract.Grain`
_KNOTS = ("knot_row", "knot_column")  # inputs: the first knots of a tile


@dataclass(frozen=True, slots=True)
class Span:
    """Along one side of a picture: what a tile covers, and the part of it that is kept."""

    window: slice
    kept: slice

    @property
    def inside(self) -> slice:
        """What is kept, counted from the start of the tile."""
        return slice(self.kept.start - self.window.start, self.kept.stop - self.window.start)


class TiledGraph:
    """A style net as two graphs: one that also gives the statistics of its norms, for the
    thumbnail, and one that takes them, for the tiles. Used by one thread.

    Raises the `RuntimeError` of OpenVINO.
    """

    def __init__(
        self, core: ov.Core, graph: ov.Model, model: ModelSpec, config: dict[str, Any]
    ) -> None:
        self._core, self._model, self._config = core, model, config
        giving = _giving_statistics(graph)
        taking = _taking_statistics(giving, _knot_ranges(graph, model))
        self._graphs = {"giving": giving, "taking": taking}
        self._has_knots = any(_KNOTS[0] in tensor.names for tensor in taking.inputs)
        self._step = math.lcm(model.stride, _APART)
        self._compiled: dict[str, tuple[tuple[int, ...], ov.CompiledModel]] = {}

    def stylize(self, frames: Batch, style: StyleVector | None, strength: float) -> Batch:
        """As an engine's `submit`, at once."""
        size = frames.shape[1:3]
        small = thumbnail_size(size, self._model.stride)
        thumbnails = np.stack([_scaled(frame, small) for frame in frames])
        given = self._run("giving", to_inputs(self._model, thumbnails, style, strength))
        statistics = {
            name: np.array(given[name]) for name in _names(self._graphs["giving"].outputs)
        }
        self._release("giving")
        stylized = np.empty_like(frames)
        for rows, columns in product(*tile_spans(size, self._step)):
            tile = np.ascontiguousarray(frames[:, rows.window, columns.window])
            inputs = to_inputs(self._model, tile, style, strength) | statistics
            if self._has_knots:
                places = rows.window.start, columns.window.start
                inputs |= {
                    name: np.array([place // _APART])
                    for name, place in zip(_KNOTS, places, strict=True)
                }
            part = to_batch(self._model, self._run("taking", inputs)[0])
            stylized[:, rows.kept, columns.kept] = part[:, rows.inside, columns.inside]
        self._release("taking")
        return stylized

    def _release(self, which: str) -> None:
        """Give back what lies between its layers, so that the other graph can have it."""
        self._compiled[which][1].release_memory()

    def _run(self, which: str, inputs: dict[str, Any]) -> Any:
        shape = inputs[self._model.frame_input].shape
        if self._compiled.get(which, ((), None))[0] != shape:
            graph = self._graphs[which].clone()
            graph.reshape({n: ov.PartialShape(list(array.shape)) for n, array in inputs.items()})
            compiled = self._core.compile_model(graph, "CPU", self._config)
            self._compiled[which] = shape, compiled
        return self._compiled[which][1](inputs)


def tile_spans(size: tuple[int, int], step: int) -> tuple[list[Span], list[Span]]:
    """The rows and the columns of tiles for a picture of `size` (H, W): the fewest of at most
    `_MAX_TILE` pixels, as small as they can be. They begin at multiples of `step`."""
    for n_tiles in range(1, 1024):
        windows = [
            tuple(
                _window(length, count, step)
                for length, count in zip(size, (n_rows, n_tiles // n_rows), strict=True)
            )
            for n_rows in range(1, n_tiles + 1)
            if n_tiles % n_rows == 0
        ]
        height, width = min(windows, key=math.prod)
        if height * width <= _MAX_TILE:
            return _spans(size[0], height, step), _spans(size[1], width, step)
    raise AssertionError("a picture is at most MAX_PIXELS large")


def thumbnail_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """(H, W) of the thumbnail of a picture of `size`, multiples of `stride`."""
    factor = min(1.0, math.sqrt(_THUMBNAIL / (size[0] * size[1])))
    height, width = (max(1, round(side * factor / stride)) * stride for side in size)
    return height, width


def _window(length: int, count: int, step: int) -> int:
    """The longest side of `count` tiles that cover `length` with margins."""
    if count == 1:
        return length
    return min(length, (math.ceil((length + 2 * MARGIN * (count - 1)) / count / step) + 1) * step)


def _spans(length: int, window: int, step: int) -> list[Span]:
    if window == length:
        return [Span(slice(0, length), slice(0, length))]
    count = math.ceil((length - 2 * MARGIN) / (window - 2 * MARGIN))
    starts = [(length - window) * i // (count - 1) // step * step for i in range(count)]
    ends = [min(start + window, length) for start in starts[:-1]] + [length]
    # Two neighbours meet in the middle of what both cover.
    borders = [(end + start) // 2 for end, start in zip(ends[:-1], starts[1:], strict=True)]
    return [
        Span(slice(start, stop), slice(begin, end))
        for start, stop, begin, end in zip(
            starts, ends, [0, *borders], [*borders, length], strict=True
        )
    ]


def _scaled(frame: Image, size: tuple[int, int]) -> Image:
    return np.asarray(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _giving_statistics(graph: ov.Model) -> ov.Model:
    """The graph with every mean over the whole picture as a further output."""
    graph = graph.clone()
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "MVN":
            x, axes = node.input_value(0), node.input_value(1)
            centred = ops.subtract(x, ops.reduce_mean(x, axes, keep_dims=True))
            variance = ops.reduce_mean(ops.multiply(centred, centred), axes, keep_dims=True)
            epsilon = np.float32(node.get_attributes()["eps"])
            deviation = ops.sqrt(ops.add(variance, epsilon))
            node.output(0).replace(ops.divide(centred, deviation).output(0))
    means = [node for node in graph.get_ordered_ops() if _is_statistic(node)]
    for number, node in enumerate(means):
        node.set_friendly_name(f"{_NAME}{number}")
        graph.add_outputs(node.output(0))[0].get_tensor().set_names({f"{_NAME}{number}"})
    return graph


def _knot_ranges(graph: ov.Model, model: ModelSpec) -> dict[str, str]:
    """The nodes that count the grain's knots along a side, with the names of their inputs."""
    if model.layout != "nhwc":
        return {}
    sized, height = graph.clone(), 16 * model.stride * _APART
    sized.reshape({model.frame_input: ov.PartialShape([1, height, 2 * height, 3])})
    found = {
        node.get_friendly_name(): node.get_output_partial_shape(0)
        for node in sized.get_ordered_ops()
        if node.get_type_name() == "Range" and _feeds_modulo(node)
    }
    lengths = [ov.PartialShape([height * i // _APART]) for i in (1, 2)]
    return {name: _KNOTS[lengths.index(shape)] for name, shape in found.items() if shape in lengths}


def _feeds_modulo(node: ov.Node) -> bool:
    return all(
        t.get_node().get_type_name() == "FloorMod" for t in node.output(0).get_target_inputs()
    )


def _taking_statistics(giving: ov.Model, knot_ranges: dict[str, str]) -> ov.Model:
    """The same graph with those outputs as inputs, so that it looks at no whole picture, and with
    the place of its grain."""
    graph, parameters = giving.clone(), []
    for node in graph.get_ordered_ops():
        if node.get_friendly_name() in knot_ranges:
            first = ops.parameter([1], np.int64)
            first.output(0).get_tensor().set_names({knot_ranges[node.get_friendly_name()]})
            targets = node.output(0).get_target_inputs()
            moved = ops.add(node, ops.convert(first, node.get_output_element_type(0).to_dtype()))
            for target in targets:
                target.replace_source_output(moved.output(0))
            parameters.append(first)
        if node.get_type_name() == "ReduceMean" and node.get_friendly_name().startswith(_NAME):
            given = ops.parameter(node.get_output_partial_shape(0), np.float32)
            given.output(0).get_tensor().set_names({node.get_friendly_name()})
            node.output(0).replace(given.output(0))
            parameters.append(given)
    result = graph.outputs[0].get_node()
    return ov.Model([result], [*graph.get_parameters(), *parameters])


def _is_statistic(node: ov.Node) -> bool:
    """Whether it averages over the places of (N, C, H, W), or of (N, C, H·W), for each channel."""
    if node.get_type_name() != "ReduceMean":
        return False
    rank = node.get_input_partial_shape(0).rank.get_length()
    axes = node.input_value(1).get_node()
    data = getattr(axes, "data", None)  # norms of ONNX compute their axes: all but the first two
    return data is None or {int(axis) % rank for axis in np.ravel(data)} == set(range(2, rank))


def _names(outputs: list[ov.Output]) -> list[str]:
    return [name for output in outputs for name in output.names if name.startswith(_NAME)]
