"""The damaged inputs: each is identified by its kind and seed, and reproduced from them."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random

from benchmarks.reliability import graphs, mutations, rewriting
from benchmarks.reliability.materials import (
    CLIPS,
    MODELS,
    PICTURES,
    Recipe,
    write_clip,
    write_picture,
)
from rtstyle.model.zoo import shipped_folder

KINDS = {  # how many of every hundred inputs
    **dict.fromkeys(mutations.BYTES, 9),
    "times": 6, "keyframes": 4, "sizes": 5, "dimensions": 5, "rates": 4, "tags": 3, "names": 2,
    "pictures": 5, "folders": 2, "paintings": 2, "models": 4, "graphs": 4, "documents": 3,
    "listings": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One input of the corpus."""

    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A made input: the command line to give it to, what it reads and what it writes.

    `source` and `output` are None where the command reads or writes no video or picture. Start and
    duration, in seconds, cut a part out.
    """

    argv: tuple[str, ...]
    source: Path | None = None
    output: Path | None = None
    start: str | None = None
    duration: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


def cases(count: int) -> list[Case]:
    """The first `count` cases, the kinds mixed in proportion."""
    return list(islice(_endless(), count))


def _endless() -> Iterator[Case]:
    seed = 0
    made = dict.fromkeys(KINDS, 0)
    while True:  # always the kind that lags most
        kind = min(KINDS, key=lambda k: (made[k] + 0.5) / KINDS[k])
        seed, made[kind] = made[kind], made[kind] + 1
        yield Case(kind, seed)


def make(case: Case, materials: Path, folder: Path) -> Specimen:
    """Make the input in the empty `folder` from the whole files in `materials`."""
    rng = Random(str(case))
    match case.kind:
        case "pictures" | "folders" | "paintings":
            return _of_pictures(case.kind, materials, folder, rng)
        case "models" | "graphs" | "documents" | "listings":
            return _of_models(case.kind, materials, folder, rng)
    source = _video(case, materials, folder, rng)
    suffix = rng.choice([".mp4", ".mp4", ".mkv", ".mov"])
    if source.suffix in (".avi", ".gif", ".mov", ".mkv") and rng.random() < 0.3:
        suffix = source.suffix
    output = folder / f"out{suffix}"
    argv = [
        "rtstyle",
        "render",
        source.name,
        output.name,
        "--engine",
        "identity",
        "--style",
        "udnie",
    ]
    argv += [] if suffix in (".avi", ".gif") else ["--preset", "ultrafast"]
    cut = rng.random() < 0.1
    start, duration = (
        (rng.choice(["0.1", "0.2", "7"]), rng.choice(["0.1", "0.24"])) if cut else (None, None)
    )
    argv += ["--start", start, "--duration", duration] if start and duration else []
    if source.name.startswith("-"):
        argv = [*argv[:2], *argv[4:], "--", *argv[2:4]]
    return Specimen(argv=tuple(argv), source=source, output=output, start=start, duration=duration)


def _video(case: Case, materials: Path, folder: Path, rng: Random) -> Path:
    name = rng.choice(sorted(CLIPS))
    whole = materials / name
    source = folder / f"in{whole.suffix}"
    if case.kind in mutations.BYTES:
        if case.kind == "headers" and rng.random() < 0.3:  # a name that lies
            source = (
                folder / f"in{rng.choice(['.mp4', '.mkv', '.avi', '.gif', '.ts', '.h264', ''])}"
            )
        source.write_bytes(mutations.BYTES[case.kind](whole.read_bytes(), rng))
    elif case.kind in ("times", "keyframes"):
        name = rng.choice(["h264.mp4", "hevc.mp4", "mpeg4.mp4", "h264.mkv", "vp9.webm", "vp8.webm",
                           "mpeg4.avi", "h264.ts", "mpeg2.ts", "h264.flv", "av1.mp4"])  # fmt: skip
        suffix = rng.choice([".mkv", ".mp4", ".flv", ".ts", ".mov", Path(name).suffix])
        source = folder / f"in{suffix}"
        furthest = 10_000 if suffix in (".mp4", ".mov") else 10**9  # else their muxer aborts
        edit = rewriting.keyless(rng)
        if case.kind == "times":
            edit = rewriting.retimed(rng, furthest=furthest)
        rewriting.rewrite(materials / name, source, edit)
        if (
            not source.exists() or not source.stat().st_size
        ):  # a codec that this container does not hold
            source = folder / f"in{Path(name).suffix}"
            rewriting.rewrite(materials / name, source, edit)
        if case.kind == "times" and suffix == ".ts" and rng.random() < 0.5:  # the clock starts over
            source.write_bytes(source.read_bytes() + (materials / "h264.ts").read_bytes())
    elif case.kind == "sizes":
        source = rewriting.resized(folder, rng)
    elif case.kind == "dimensions":
        source = _dimensions(materials, folder, rng)
    elif case.kind == "rates":
        source = _rates(materials, folder, rng)
    elif case.kind == "tags":
        name = rng.choice(
            ["h264.mp4", "h264.mkv", "mjpeg.mov", "vp9.webm", "mpeg4.avi", "h264.flv"]
        )
        source = folder / f"in{Path(name).suffix}"
        rewriting.tagged(materials / name, source, rng)
    else:
        source = folder / rewriting.odd_name(rng, whole.suffix)
        shutil.copyfile(whole, source)
    return source


_ABSURD = (0, 1, 3, 16_384, 32_768, 65_535, 100_000, 2**31 - 1, 2**32 - 1)
_REAL_SIZES = ((1, 1), (2, 2), (3, 5), (1, 400), (4096, 2), (2, 4096), (15, 17), (2600, 2400))


def _dimensions(materials: Path, folder: Path, rng: Random) -> Path:
    """A size that the header tells and the pictures do not have, or a real one at the edge."""
    if rng.random() < 0.35:
        codec, suffix = rng.choice([("ffv1", ".mkv"), ("png", ".mov"), ("libvpx-vp9", ".webm"),
                                    ("mpeg4", ".avi"), ("gif", ".gif")])  # fmt: skip
        pixel_format = {"png": "rgb24", "gif": "rgb8"}.get(codec, "yuv420p")
        source = folder / f"in{suffix}"
        size = rng.choice(_REAL_SIZES)
        write_clip(source, Recipe(suffix, codec, None, pixel_format, size), n_frames=2)
        return source
    name = rng.choice(["h264.mp4", "mjpeg.mov", "prores.mov", "h264.mkv", "vp9.webm", "raw.avi",
                       "ffv1.mkv",
                       "mpeg4.avi", "animated.gif", "plain.y4m", "vp9.ivf",
                       "animated.apng"])  # fmt: skip
    data, source = bytearray((materials / name).read_bytes()), folder / f"in{Path(name).suffix}"
    width, height = rng.choice(_ABSURD), rng.choice([48, *_ABSURD])
    both = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
    match source.suffix:
        case ".gif":
            data[6:10] = both
        case ".ivf":
            data[12:16] = both
        case ".apng":
            data = bytearray(mutations.png_of_size(bytes(data), width, height))
        case ".y4m":
            data[:] = data.replace(b" W64 H48", f" W{width} H{height}".encode(), 1)
        case ".avi":
            for tag, offset in ((b"avih", 40), (b"strf", 12)):
                at = data.find(tag) + offset
                data[at : at + 8] = struct.pack("<II", width, height)
        case ".mkv" | ".webm":
            at = data.find(b"\xb0\x81\x40")  # PixelWidth 64
            data[at + 2] = rng.choice([0, 1, 255])
            at = data.find(b"\xba\x81\x30")
            data[at + 2] = rng.choice([0, 1, 48, 255])
        case _:
            at = data.find(b"stsd") + 44  # of the first sample entry: width, height
            data[at : at + 4] = struct.pack(">HH", width & 0xFFFF, height & 0xFFFF)
    source.write_bytes(data)
    return source


def _rates(materials: Path, folder: Path, rng: Random) -> Path:
    """Rates and clocks of 0, 1 and the largest number."""
    name = rng.choice(["h264.mp4", "mpeg4.mp4", "mjpeg.mov", "mpeg4.avi", "mjpeg.avi", "h264.mkv",
                       "vp8.webm",
                       "plain.y4m", "vp9.ivf", "h264.flv", "animated.apng"])  # fmt: skip
    data, source = (materials / name).read_bytes(), folder / f"in{Path(name).suffix}"
    values = (0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x8000_0000)
    match source.suffix:
        case ".y4m":
            rate = rng.choice([b"0:0", b"0:1", b"1:0", b"1000000:1", b"1:1000000", b"-25:1", b"x"])
            data = data.replace(b"F25:1", b"F" + rate, 1)
        case ".ivf":
            data = (
                data[:16] + struct.pack("<II", rng.choice(values), rng.choice(values)) + data[24:]
            )
        case ".avi":
            at = data.find(b"strh") + 28  # dwScale, dwRate
            data = (
                data[:at]
                + struct.pack("<II", rng.choice(values), rng.choice(values))
                + data[at + 8 :]
            )
        case ".mp4" | ".mov":
            data = mutations.field_in(
                data, (b"mdhd", b"mvhd", b"stts", b"elst", b"ctts"), rng, values
            )
        case ".apng":
            data = mutations.field_in(data, (b"fcTL", b"acTL"), rng, values)
        case _:
            names = (
                b"\x23\xe3\x83",
                b"\x2a\xd7\xb1",
                b"\xe7",
                b"\x44\x89",
            )  # duration, scale, time
            data = mutations.field_in(data, names, rng, values)
    source.write_bytes(data)
    return source


def _damaged_picture(materials: Path, path: Path, rng: Random) -> None:
    """Write a damaged picture; one in six is a PNG of an absurd size."""
    if rng.random() < 0.17:
        data = (materials / rng.choice(["rgb.png", "alpha.png"])).read_bytes()
        path.write_bytes(mutations.png_of_size(data, rng.choice(_ABSURD), rng.choice(_ABSURD)))
        return
    whole = (materials / rng.choice(PICTURES)).read_bytes()
    path.write_bytes(mutations.BYTES[rng.choice(sorted(mutations.BYTES))](whole, rng))


def _of_pictures(kind: str, materials: Path, folder: Path, rng: Random) -> Specimen:
    common = ("--engine", "identity", "--style", "udnie")
    if kind == "pictures":
        source = folder / f"in{rng.choice(['.png', '.jpg', '.webp', '.bmp', '.tif'])}"
        _damaged_picture(materials, source, rng)
        output = folder / rng.choice(["out.png", "out.jpg", "out.webp", "out.mp4"])
        return Specimen(
            argv=("rtstyle", "render", source.name, output.name, *common),
            source=source,
            output=output,
        )
    if kind == "paintings":
        painting, source, output = folder / "style.jpg", folder / "in.png", folder / "out.png"
        _damaged_picture(materials, painting, rng)
        write_picture(source)
        shutil.copyfile(materials / "tinting.onnx", folder / "tinting.onnx")
        shutil.copytree(materials / "encoders", folder / "encoders")
        return Specimen(
            argv=("rtstyle", "render", source.name, output.name, "--style",
                  painting.name, "--engine", "onnxruntime"),
            source=source, output=output,
            environment={"RTSTYLE_MODELS": str(folder), "XDG_CACHE_HOME": str(folder / "cache")},
        )  # fmt: skip
    source = folder / "pictures"
    source.mkdir()
    for number in range(4):
        path = source / f"frame_{number}.png"
        if number == 2 or rng.random() < 0.2:
            _damaged_picture(materials, path, rng)
        else:
            write_picture(path, rng.choice([(80, 60), (80, 60), (80, 60), (60, 80), (1, 1)]))
    output = folder / rng.choice(["out.mp4", "out.mkv", "out"])
    return Specimen(
        argv=("rtstyle", "render", source.name, output.name, *common), source=source, output=output
    )


def _of_models(kind: str, materials: Path, folder: Path, rng: Random) -> Specimen:
    name = rng.choice(MODELS)
    whole, model = materials / name, folder / name
    if kind == "models":
        if rng.random() < 0.15:
            whole = shipped_folder() / rng.choice(
                ["gallery.onnx", "udnie.onnx", "any_picture.onnx"]
            )
        data = mutations.BYTES[rng.choice(sorted(mutations.BYTES))](whole.read_bytes(), rng)
        model.write_bytes(data)
    elif kind == "graphs" or (kind == "listings" and rng.random() < 0.3):
        graphs.broken_graph(whole, model, rng)
    else:
        graphs.broken_document(whole, model, rng)
    environment = {"RTSTYLE_MODELS": str(folder), "COLUMNS": "100"}
    if kind == "listings":
        return Specimen(argv=("rtstyle", "styles"), environment=environment)
    source, output = folder / "in.png", folder / "out.png"
    write_picture(source)
    engine = rng.choice(["onnxruntime", "openvino", "openvino", "identity", "auto"])
    style = model.name if rng.random() < 0.9 else "dark"
    return Specimen(
        argv=("rtstyle", "render", source.name, output.name, "--style", style, "--engine",
              engine, "--threads", "1"),
        source=source, output=output, environment={} if rng.random() < 0.5 else environment,
    )  # fmt: skip


def files_of(folder: Path) -> set[str]:
    """Every file below `folder`, as text that tells it."""
    return {os.fsdecode(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}
