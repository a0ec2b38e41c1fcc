"""One net by every runtime, in one run: `python -m benchmarks peers`.

The net is that of pytorch/examples, Johnson's at width 32 with random weights, on which speed does
not depend. Every runtime gets the same pictures of the same clip, uint8 in and uint8 out, in turn:
A B C, A B C, …, so that a machine whose speed drifts moves all of them. Beside them, on the same
clip: rtstyle from file to file with that net, and what FFmpeg's decode → scale → encode alone
costs, which is the floor of the video path. A runtime that is not here is skipped with its reason.
No round begins after `--minutes`; Ctrl-C keeps the rounds that are whole. It goes to
`benchmarks/results/studies/peers.json`.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.options import parse
from benchmarks.pairs import compare
from benchmarks.studies import Study, Table, command_line, keep, show
from rtstyle import __version__
from rtstyle.bench.case import parse_size
from rtstyle.bench.sources import make_clip
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.errors import EngineError, RtstyleError, UsageError, install_line
from rtstyle.frame import Image
from rtstyle.media import WriteOptions, open_source
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.rendering.api import render
from rtstyle.style.style import styles_of

Stylize = Callable[[Image], Image]
_FEWEST = 2  # rounds that an interval is made of


@dataclass(frozen=True, slots=True)
class Net:
    """The net as torch has it, as a model file, and bare: float (1, 3, H, W), one size."""

    torch_net: Any
    spec: ModelSpec
    bare: Path


@dataclass(frozen=True, slots=True)
class Row:
    """One peer. `ratio` is its speed over the first one's, with a 99% interval; `off_by` the mean
    grey levels between what both paint, None where nothing is painted."""

    name: str
    version: str
    fps: float
    ratio: float
    ratio_low: float
    ratio_high: float
    off_by: float | None


@contextmanager
def torch_eager(net: Net, threads: int | None) -> Iterator[Stylize]:
    """torch as pytorch/examples runs it."""
    yield _by_torch(net.torch_net, threads)


@contextmanager
def torch_compiled(net: Net, threads: int | None) -> Iterator[Stylize]:
    """`torch.compile` with its default settings."""
    import torch

    yield _by_torch(torch.compile(net.torch_net), threads)


@contextmanager
def onnxruntime(net: Net, threads: int | None) -> Iterator[Stylize]:
    """ONNX Runtime, as rtstyle drives it."""
    with _by_engine("onnxruntime", net, threads) as paint:
        yield paint


@contextmanager
def openvino(net: Net, threads: int | None) -> Iterator[Stylize]:
    """OpenVINO, as rtstyle drives it."""
    with _by_engine("openvino", net, threads) as paint:
        yield paint


@contextmanager
def opencv_dnn(net: Net, threads: int | None) -> Iterator[Stylize]:
    """OpenCV's own runtime on the bare net: it has no uint8 graphs."""
    import cv2

    before = cv2.getNumThreads()
    if threads:
        cv2.setNumThreads(threads)
    try:
        loaded = cv2.dnn.readNetFromONNX(str(net.bare))

        def paint(image: Image) -> Image:
            loaded.setInput(cv2.dnn.blobFromImage(image, 1 / 255) + _grain(*image.shape[:2]))
            return _to_picture(np.asarray(loaded.forward()))

        yield paint
    finally:
        cv2.setNumThreads(before)


PEERS = {
    "torch eager": (torch_eager, "torch"),
    "torch.compile": (torch_compiled, "torch"),
    "ONNX Runtime": (onnxruntime, "onnxruntime"),
    "OpenVINO": (openvino, "openvino"),
    "OpenCV DNN": (opencv_dnn, "opencv-python-headless"),
}


def measure_peers(
    net: Net, clip: Path, folder: Path, *, names: list[str], rounds: int, pictures: int,
    threads: int | None, skip: Callable[[str], None], minutes: float = 1e9,
) -> list[Row]:  # fmt: skip
    """All peers that work here, in turn; `skip` hears of the others. No third round or later one
    begins after `minutes`. Raises `RtstyleError` when there are not two rounds."""
    deadline = perf_counter() + 60 * minutes
    with open_source(clip) as source:
        images = [frame.image for frame, _ in zip(source.frames(), range(pictures), strict=False)]
    works: dict[str, Callable[[], float]] = {}
    painted: dict[str, Image] = {}
    with ExitStack() as stack:
        for name in names:
            try:
                paint = stack.enter_context(PEERS[name][0](net, threads))
                painted[name] = paint(images[0])  # compiles
            except Exception as error:  # each runtime raises its own; one less is no failure
                skip(f"{name}: {_sentence(error)}")
                continue
            works[name] = lambda paint=paint: _seconds_each(paint, images)  # type: ignore[misc]
        works["rtstyle, file to file"] = lambda: rtstyle_seconds(net, clip, folder, threads)
        works["FFmpeg decode → scale → encode"] = lambda: floor_seconds(clip, folder)
        times: dict[str, list[float]] = {name: [] for name in works}
        try:
            for number in range(rounds):
                if number >= _FEWEST and perf_counter() > deadline:
                    skip(f"{rounds - number} of {rounds} rounds: {minutes:g} minutes were over")
                    break
                _one_round(works, times, skip)
                print(f"round {number + 1} of {rounds}", flush=True)
        except KeyboardInterrupt:
            skip("what came after Ctrl-C")
    whole = min(map(len, times.values()), default=0)
    if whole < _FEWEST:
        raise RtstyleError(f"Nothing is known before {_FEWEST} rounds of every peer are done.")
    return _rows({name: seconds[:whole] for name, seconds in times.items()}, painted)


def _one_round(
    works: dict[str, Callable[[], float]],
    times: dict[str, list[float]],
    skip: Callable[[str], None],
) -> None:
    for name in list(works):
        try:
            times[name].append(works[name]())
        except (RtstyleError, OSError, RuntimeError) as error:
            skip(f"{name}: {_sentence(error)}")
            del works[name], times[name]


def _rows(times: dict[str, list[float]], painted: dict[str, Image]) -> list[Row]:
    first = next(iter(times))
    rows = []
    for name, seconds in times.items():
        found = compare(list(zip(times[first], seconds, strict=True)))
        off = None
        if name in painted and first in painted:
            off = float(np.abs(painted[name].astype(np.int16) - painted[first]).mean())
        package = PEERS[name][1] if name in PEERS else "rtstyle" if "rtstyle" in name else "av"
        rows.append(
            Row(
                name,
                _version(package),
                fps=round(1 / median(seconds), 3),
                ratio=round(found.ratio, 3),
                ratio_low=round(found.low, 3),
                ratio_high=round(found.high, 3),
                off_by=None if off is None else round(off, 3),
            )
        )
    return rows


def floor_seconds(clip: Path, folder: Path) -> float:
    """Seconds a frame of decoding, scaling and encoding with nothing between, by PyAV's FFmpeg with
    the encoder settings that rtstyle has by default."""
    import av

    start, count = perf_counter(), 0
    with av.open(str(clip)) as source, av.open(str(folder / "floor.mp4"), "w") as out:
        video = source.streams.video[0]
        video.thread_type = "AUTO"
        stream = out.add_stream("libx264", rate=video.average_rate)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.options = {"crf": "18"}
        for frame in source.decode(video):
            # To RGB and back, as whatever paints must.
            scaled = frame.reformat(format="rgb24").reformat(format="yuv420p")
            scaled.pts, scaled.time_base = frame.pts, frame.time_base
            out.mux(stream.encode(scaled))
            count += 1
        out.mux(stream.encode(None))
    return (perf_counter() - start) / count


def rtstyle_seconds(net: Net, clip: Path, folder: Path, threads: int | None) -> float:
    """Seconds a frame of the whole of rtstyle, opening and loading included."""
    report = render(
        clip,
        folder / "painted.mp4",
        style=styles_of(net.spec)[0],
        engine=EngineOptions(threads=threads),
        writing=WriteOptions(overwrite=True),
    )
    return 1 / report.fps


def make_net(folder: Path, width: int, height: int, *, channels: int = 32) -> Net:
    """The net in all its forms, in `folder`; for pictures of one size."""
    import onnx
    import torch

    from rtstyle.bench.parity import require_parity
    from rtstyle.nets import build_net
    from rtstyle.train.to_onnx import ModelCard, write_model

    torch.manual_seed(0)
    net = build_net("johnson", width=channels).eval()
    card = ModelCard(("Peer",), "Random weights, for speed.", "CC0-1.0", {})
    path, bare = folder / "peer.onnx", folder / "bare.onnx"
    write_model(net, path, card, architecture="johnson", check=require_parity)
    example = torch.rand(1, 3, height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about itself
        program = torch.onnx.export(net, (example,), dynamo=True, verbose=False)
    assert program is not None
    onnx.save_model(program.model_proto, bare)
    return Net(net, read_model(path), bare)


@contextmanager
def _by_engine(name: str, net: Net, threads: int | None) -> Iterator[Stylize]:
    with open_engine(EngineOptions(name=name, threads=threads), net.spec) as engine:
        yield lambda image: engine.submit(image[None]).result()[0]


def _by_torch(net: Any, threads: int | None) -> Stylize:
    torch = import_module("torch")
    if threads:
        torch.set_num_threads(threads)

    def paint(image: Image) -> Image:
        with torch.inference_mode():
            x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            return _to_picture(net(x + torch.from_numpy(_grain(*image.shape[:2]))).numpy())

    return paint


@lru_cache(maxsize=4)
def _grain(height: int, width: int) -> NDArray[np.float32]:
    """What our model files add to a picture, so that all paint the same one."""
    from rtstyle.nets.contract import Grain

    return np.asarray(Grain()(height, width).numpy() / 255)


def _to_picture(x: Any) -> Image:
    """(1, 3, H, W) float → (H, W, 3) uint8."""
    return np.asarray((x[0].transpose(1, 2, 0) * 255).clip(0, 255).round(), np.uint8)


def _seconds_each(paint: Stylize, images: list[Image]) -> float:
    start = perf_counter()
    for image in images:
        paint(image)
    return (perf_counter() - start) / len(images)


def _version(package: str) -> str:
    """Empty where the package goes by another name, as OpenCV's may."""
    if package == "rtstyle":
        return __version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _sentence(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    size: str = "360p"
    rounds: int = 10
    minutes: Annotated[float, typer.Option(help="no round begins later")] = 8.0
    pictures: Annotated[int, typer.Option(help="a round and runtime")] = 3
    frames: Annotated[int, typer.Option(help="of the clip")] = 24
    channels: Annotated[int, typer.Option(help="of the net's first layer")] = 32
    peer: Annotated[list[str] | None, typer.Option(metavar="|".join(list(PEERS)))] = None
    threads: int | None = None
    out: Path | None = None


def main(argv: list[str]) -> int:
    """Measure, print, keep."""
    options = parse(Options, argv, program="python -m benchmarks peers", about=__doc__)
    if unknown := set(options.peer or ()) - set(PEERS):
        raise UsageError(f"There is no peer {min(unknown)!r}; use {', '.join(PEERS)}.")
    if min(options.rounds, options.pictures, options.frames, options.channels) < 1:
        raise UsageError("Rounds, pictures, frames and channels are at least 1.")
    began = perf_counter()
    width, height = (-(-side // 4) * 4 for side in parse_size(options.size))
    skipped: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        make_clip(clip, width, height, frames=options.frames)
        try:
            net = make_net(folder, width, height, channels=options.channels)
        except ImportError as error:
            raise EngineError(
                f"The peers run a net that torch makes ({error}): {install_line('train')}."
            ) from None
        rows = measure_peers(
            net, clip, folder, names=options.peer or list(PEERS),
            rounds=max(_FEWEST, options.rounds), pictures=options.pictures,
            threads=options.threads, skip=skipped.append, minutes=options.minutes,
        )  # fmt: skip
    study = Study(
        name="peers",
        command=command_line("peers", argv),
        tables=(_table(rows, f"{width}×{height}"),),
        missing=tuple(skipped),
        seconds=round(perf_counter() - began, 1),
        figures={"size": f"{width}x{height}", "rows": [asdict(row) for row in rows]},
    )
    show(study)
    print(keep(study, options.out))
    return 130 if "what came after Ctrl-C" in skipped else 0


def _table(rows: list[Row], size: str) -> Table:
    return Table(
        title=f"Johnson's net at {size}; speed beside the first one's, with the 99% interval, and "
        "grey levels between what both paint",
        columns=("peer", "version", "fps", "of the first", "interval", "off by"),
        rows=tuple(
            (
                row.name,
                row.version or "–",
                f"{row.fps:.2f}",
                f"{row.ratio:.2f}",
                f"{row.ratio_low:.2f} to {row.ratio_high:.2f}",
                "–" if row.off_by is None else f"{row.off_by:.2f}",
            )
            for row in rows
        ),
    )
