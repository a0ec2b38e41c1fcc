"""The checks of a GPU's decoder and encoder, which need no engine; see `gpu_engine_checks`."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rtstyle.bench.gpu_engine_checks import CLOSE, AbsentError, FailedError, Figures, Plan
from rtstyle.bench.sources import make_clip
from rtstyle.engines import has_nvidia_driver
from rtstyle.engines.base import Batch
from rtstyle.errors import MediaError
from rtstyle.frame import StreamInfo
from rtstyle.media import ReadOptions, WriteOptions, open_sink, open_source
from rtstyle.media.video.nvcodec import device_encoder

_LOSSY = 4.0  # grey levels: what encoding may take away, mean


def check_decoding(plan: Plan) -> Figures:
    """NVDEC against software, frame by frame."""
    with TemporaryDirectory(prefix="rtstyle-check-") as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, plan.size[1], plan.size[0], frames=12)
        try:
            pictures = _decoded(clip, "cuda")
        except MediaError as error:
            raise (FailedError if has_nvidia_driver() else AbsentError)(str(error)) from error
        return _near(pictures, _decoded(clip, "none"), CLOSE)


def check_encoding(plan: Plan) -> Figures:
    """NVENC: what comes back is what went in, but for the loss that any encoder has."""
    height, width = plan.size
    name = device_encoder("libx264", "cuda", StreamInfo(width, height, Fraction(25), Fraction(1)))
    if name is None:
        raise AbsentError("h264_nvenc does not open on this GPU")
    with TemporaryDirectory(prefix="rtstyle-check-") as folder:
        clip, output = Path(folder) / "clip.mp4", Path(folder) / "out.mp4"
        make_clip(clip, width, height, frames=12)
        options = WriteOptions(codec=name, hwaccel="cuda")
        with open_source(clip) as source, open_sink(output, source, options) as sink:
            for frame in source.frames():
                sink.write(frame)
            sink.finish()
        return _near(_decoded(output, "none"), _decoded(clip, "none"), _LOSSY)


MEDIA_CHECKS: dict[str, Callable[[Plan], Figures]] = {
    "decoding": check_decoding,
    "encoding": check_encoding,
}


def _near(got: list[Batch], expected: list[Batch], limit: float) -> Figures:
    if len(got) != len(expected):
        raise FailedError(f"{len(got)} frames came of {len(expected)}")
    off = max(
        float(np.abs(one.astype(np.int16) - other).mean())
        for one, other in zip(got, expected, strict=True)
    )
    if not off <= limit:
        raise FailedError(f"frames are off by {off:.1f} grey levels in the mean")
    return {"mean": round(off, 3)}


def _decoded(clip: Path, hwaccel: str) -> list[Batch]:
    with open_source(clip, ReadOptions(hwaccel=hwaccel)) as source:
        return [frame.image for frame in source.frames()]
