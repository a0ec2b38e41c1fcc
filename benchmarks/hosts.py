"""One style inside every host that is here, beside rtstyle: `python -m benchmarks hosts`.

`rtstyle export-for` writes the style for each host; every host paints the same pictures in turn,
A B C, A B C, …, in the runtime and form that it really has: VapourSynth through its own frames in
the Python that `--vapoursynth` names (where `vapoursynth` and `vapoursynth-mlrt-ov` are installed),
Node.js with the packages of the folder that `--javascript` names (`npm install onnxruntime-node`),
OpenCV's DNN module and ONNX Runtime by the lines of their snippets, FFmpeg's `dnn_processing` by
that of its snippet, where `--ffmpeg` has the filter with OpenVINO. A host that is not here is
missing with its reason. It goes to `benchmarks/results/studies/hosts.json`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.options import parse
from benchmarks.pairs import compare
from benchmarks.studies import Study, Table, command_line, keep, show
from rtstyle import __version__
from rtstyle.bench.case import parse_size
from rtstyle.demo import sample_photos
from rtstyle.engines import EngineOptions, open_engine
from rtstyle.errors import EngineError, RtstyleError, UsageError
from rtstyle.frame import Image
from rtstyle.hosts import HOSTS, export_for
from rtstyle.image import Look, finish, prepare
from rtstyle.style.parse import find_style

Paint = Callable[[Sequence[Image]], tuple[list[NDArray[np.float32]], float]]

# Reads frames.npy, paints them, writes painted.npy and prints the seconds and the version.
_VAPOURSYNTH = """
import time
import numpy as np
import vapoursynth as vs

core = vs.core
core.num_threads = THREADS or core.num_threads
pictures = np.load("frames.npy")
count, height, width = pictures.shape[:3]

def put(n, f):
    f = f.copy()
    for plane in range(3):
        np.asarray(f[plane])[:] = pictures[n, ..., plane]
    return f

clip = core.std.BlankClip(width=width, height=height, format=vs.RGB24, length=count)
clip = core.resize.Point(core.std.ModifyFrame(clip, clip, put), format=vs.RGBS)
clip = core.ov.Model(clip, network_path="vapoursynth.onnx")
clip.get_frame(0)
began = time.perf_counter()
planes = [[np.array(f[p]) for p in range(3)] for f in clip.frames(close=True)]
seconds = time.perf_counter() - began
np.save("painted.npy", np.stack([np.stack(p, -1) for p in planes]).astype(np.float32) * 255)
print(seconds, vs.__version__)
"""

# Reads frames.bin, paints it as the snippet does, writes painted.bin, prints seconds and version.
_JAVASCRIPT = """
const { createRequire } = require("module"), fs = require("fs");
const load = createRequire(process.argv[2] + "/"), ort = load("onnxruntime-node");
const [count, height, width] = process.argv.slice(3, 6).map(Number), area = width * height;
const frames = fs.readFileSync("frames.bin"), painted = new Float32Array(count * 3 * area);
(async () => {
  const threads = { intraOpNumThreads: Number(process.argv[6]) };
  const session = await ort.InferenceSession.create("javascript.onnx", threads);
  const paint = async (n) => {
    const planes = new Float32Array(3 * area);
    for (let i = 0; i < area; i++)
      for (let c = 0; c < 3; c++) planes[c * area + i] = frames[3 * (n * area + i) + c] / 255;
    const input = new ort.Tensor("float32", planes, [1, 3, height, width]);
    return (await session.run({ input })).output.data;
  };
  await paint(0);
  const began = performance.now();
  for (let n = 0; n < count; n++) painted.set(await paint(n), 3 * area * n);
  const seconds = (performance.now() - began) / 1000;
  fs.writeFileSync("painted.bin", painted);
  console.log(seconds, load("onnxruntime-node/package.json").version);
})();
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A host's frames a second, over rtstyle's with a 99% interval, and how far it is from it in
    grey levels."""

    host: str
    version: str
    file: str
    fps: float
    ratio: float
    low: float
    high: float
    mean: float
    p999: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    style: str = "udnie"
    size: str = "360p"
    rounds: int = 8
    pictures: Annotated[int, typer.Option(help="a round and host")] = 8
    threads: int | None = None
    vapoursynth: Annotated[
        Path | None, typer.Option(metavar="PYTHON", help="that has VapourSynth and mlrt-ov")
    ] = None
    javascript: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="where onnxruntime-node is installed")
    ] = None
    ffmpeg: Annotated[str, typer.Option(metavar="PROGRAM", help="built with OpenVINO")] = "ffmpeg"
    out: Path | None = None


def main(argv: list[str]) -> int:
    """Measure, print, keep."""
    options = parse(Options, argv, program="python -m benchmarks hosts", about=__doc__)
    if options.rounds < 2 or options.pictures < 1:
        raise UsageError("There are at least 2 rounds, of at least 1 picture.")
    began = perf_counter()
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options, Path(folder), missing)
    study = Study(
        name="hosts",
        command=command_line("hosts", _without_places(argv)),
        tables=(_table(rows, options),),
        missing=tuple(missing),
        seconds=round(perf_counter() - began, 1),
        figures={"rows": [asdict(row) for row in rows]},
    )
    show(study)
    print(keep(study, options.out))
    return 0


def _without_places(argv: Sequence[str]) -> list[str]:
    """Where somebody has the other programs is no part of the result."""
    names = {"--vapoursynth": "PYTHON", "--javascript": "FOLDER", "--ffmpeg": "PROGRAM"}
    return [names.get(before, word) for before, word in pairwise(["", *argv])]


def measure(options: Options, folder: Path, missing: list[str]) -> list[Row]:
    """All hosts in turn; `missing` hears of those that are not here."""
    style = find_style(options.style)
    width, height = parse_size(options.size)
    photos = sample_photos()
    pictures = [
        np.asarray(cv2.resize(photos[n % len(photos)], (width, height)), np.uint8)
        for n in range(options.pictures)
    ]
    painters: dict[str, tuple[str, str, Paint]] = {}
    with ExitStack() as stack:
        engine = stack.enter_context(
            open_engine(EngineOptions(name="auto", threads=options.threads), style.model)
        )

        def by_rtstyle(images: Sequence[Image]) -> tuple[list[NDArray[np.float32]], float]:
            start, painted = perf_counter(), []
            for image in images:
                batch = prepare(image, model=style.model, look=Look())
                stylized = engine.submit(batch, style.vector, 1.0).result()
                painted.append(finish(stylized, image, model=style.model, look=Look()))
            seconds = perf_counter() - start
            return [picture.astype(np.float32) for picture in painted], seconds

        by_rtstyle(pictures[:1])  # compiles
        painters["rtstyle"] = __version__, f"{engine.name} float32", by_rtstyle
        for host, make in _HOSTS.items():
            path = folder / f"{host}.onnx"
            try:
                size = (height, width) if HOSTS[host].form.is_fixed else None
                export_for(host, style, path, size=size)
                version, paint = make(path, options)
                paint(pictures[:1])
            except (RtstyleError, OSError, RuntimeError, subprocess.SubprocessError) as error:
                missing.append(f"{host}: {str(error).strip().splitlines()[-1]}")
                continue
            painters[host] = version, path.name, paint
        times: dict[str, list[float]] = {name: [] for name in painters}
        painted: dict[str, list[NDArray[np.float32]]] = {}
        for number in range(options.rounds):
            for name, (_, _, paint) in painters.items():
                painted[name], seconds = paint(pictures)
                times[name].append(seconds / len(pictures))
            print(f"round {number + 1} of {options.rounds}", flush=True)
    rows = []
    for name, (version, file, _) in painters.items():
        found = compare(list(zip(times["rtstyle"], times[name], strict=True)))
        pairs = zip(painted[name], painted["rtstyle"], strict=True)
        off = np.stack([np.abs(one - other) for one, other in pairs])
        rows.append(Row(
            name, version, file, round(1 / median(times[name]), 2), round(found.ratio, 3),
            round(found.low, 3), round(found.high, 3),
            float(off.mean()), float(np.percentile(off, 99.9)),
        ))  # fmt: skip
    return rows


def _opencv(path: Path, options: Options) -> tuple[str, Paint]:
    net = cv2.dnn.readNetFromONNX(str(path))
    if options.threads:
        cv2.setNumThreads(options.threads)

    def paint(images: Sequence[Image]) -> tuple[list[NDArray[np.float32]], float]:
        start, painted = perf_counter(), []
        for image in images:
            net.setInput(cv2.dnn.blobFromImage(image, swapRB=True))
            painted.append(np.array(net.forward()[0]))
        seconds = perf_counter() - start
        return [bgr[::-1].transpose(1, 2, 0) for bgr in painted], seconds

    return cv2.__version__, paint


def _onnxruntime(path: Path, options: Options) -> tuple[str, Paint]:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise EngineError(str(error)) from None
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads or 0
    session = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

    def paint(images: Sequence[Image]) -> tuple[list[NDArray[np.float32]], float]:
        start, painted = perf_counter(), []
        for image in images:
            planes = (image.astype(np.float32) / 255).transpose(2, 0, 1)[None]
            painted.append(session.run(["output"], {"input": planes})[0][0])
        seconds = perf_counter() - start
        return [planes.transpose(1, 2, 0) * 255 for planes in painted], seconds

    return metadata.version("onnxruntime"), paint


def _vapoursynth(path: Path, options: Options) -> tuple[str, Paint]:
    if options.vapoursynth is None:
        raise EngineError("not asked for, by --vapoursynth PYTHON")
    script = path.with_name("paint.py")
    script.write_text(_VAPOURSYNTH.replace("THREADS", str(options.threads)), encoding="utf-8")
    python = os.path.abspath(options.vapoursynth)  # its environment is found by its own name

    def run(images: Sequence[Image]) -> tuple[str, list[NDArray[np.float32]], float]:
        np.save(path.with_name("frames.npy"), np.stack(images))
        done = subprocess.run(
            [python, script], cwd=path.parent, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise EngineError(done.stderr or f"it ended with {done.returncode}")
        seconds, version = done.stdout.splitlines()[-1].split(maxsplit=1)
        return version, list(np.load(path.with_name("painted.npy"))), float(seconds)

    first = np.zeros((64, 64, 3), np.uint8)
    return run([first])[0], lambda images: run(images)[1:]


def _javascript(path: Path, options: Options) -> tuple[str, Paint]:
    if options.javascript is None:
        raise EngineError("not asked for, by --javascript FOLDER")
    packages = options.javascript.resolve()
    (script := path.with_name("paint.cjs")).write_text(_JAVASCRIPT, encoding="utf-8")

    def run(images: Sequence[Image]) -> tuple[str, list[NDArray[np.float32]], float]:
        frames = np.stack(images)
        frames.tofile(path.with_name("frames.bin"))
        given = [packages, *frames.shape[:3], options.threads or 0]
        done = subprocess.run(
            ["node", script, *map(str, given)],
            cwd=path.parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "Error" in line]
            raise EngineError(errors[0] if errors else f"node ended with {done.returncode}")
        seconds, version = done.stdout.split()
        painted = np.fromfile(path.with_name("painted.bin"), np.float32)
        planes = painted.reshape(len(images), 3, *frames.shape[1:3]) * 255
        return version, list(planes.transpose(0, 2, 3, 1)), float(seconds)

    first = np.zeros((64, 64, 3), np.uint8)
    return run([first])[0], lambda images: run(images)[1:]


def _ffmpeg(path: Path, options: Options) -> tuple[str, Paint]:
    program = shutil.which(options.ffmpeg)
    if program is None:
        raise EngineError(f"there is no {options.ffmpeg} here")
    listed = subprocess.run([program, "-buildconf"], capture_output=True, text=True, check=True)
    if "enable-libopenvino" not in listed.stdout:
        raise EngineError("this ffmpeg is built without OpenVINO")
    version = subprocess.run([program, "-version"], capture_output=True, text=True, check=True)
    snippet = path.with_name(f"{path.stem}_in_ffmpeg.sh").read_text(encoding="utf-8")
    filters = snippet.split('-vf "')[1].split('"')[0]

    def paint(images: Sequence[Image]) -> tuple[list[NDArray[np.float32]], float]:
        images = [*images[:1], *images]  # it begins to count when the first one is painted
        height, width = images[0].shape[:2]
        np.stack(images).tofile(path.with_name("frames.rgb"))
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
        given = [*raw, "-s", f"{width}x{height}", "-i", "frames.rgb"]
        command = [program, "-v", "error", *given, "-vf", filters, *raw, "-"]
        painted, times = [], []
        with subprocess.Popen(command, cwd=path.parent, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while picture := process.stdout.read(height * width * 3):
                painted.append(np.frombuffer(picture, np.uint8).reshape(height, width, 3))
                times.append(perf_counter())
        if process.returncode or len(painted) != len(images):
            raise EngineError(f"ffmpeg ended with {process.returncode}")
        return [picture.astype(np.float32) for picture in painted[1:]], times[-1] - times[0]

    return version.stdout.split()[2], paint


_HOSTS: dict[str, Callable[[Path, Options], tuple[str, Paint]]] = {
    "vapoursynth": _vapoursynth,
    "opencv": _opencv,
    "onnxruntime": _onnxruntime,
    "javascript": _javascript,
    "ffmpeg": _ffmpeg,
}


def _table(rows: Sequence[Row], options: Options) -> Table:
    return Table(
        title=f"{options.style} at {options.size}; speed beside rtstyle's with the 99% interval, "
        "and grey levels from its picture",
        columns=("host", "version", "file", "fps", "of ours", "interval", "mean", "99.9%"),
        rows=tuple(
            (
                row.host, row.version, row.file, f"{row.fps:.2f}", f"{row.ratio:.2f}",
                f"{row.low:.2f} to {row.high:.2f}", f"{row.mean:.4f}", f"{row.p999:.2f}",
            )
            for row in rows
        ),
    )  # fmt: skip
