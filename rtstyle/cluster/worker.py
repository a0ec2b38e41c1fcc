"""What runs on Ray: a process that holds an open engine and paints segments."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import av

from rtstyle.cluster.package import Package
from rtstyle.engines import open_engine
from rtstyle.engines.base import Engine
from rtstyle.errors import ClusterError, OutputError, RtstyleError
from rtstyle.metrics import Report
from rtstyle.rendering.encode import paint_segments
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.plan import Segment
from rtstyle.style.style import Style


@dataclass(frozen=True, slots=True)
class Facts:
    """Where a worker is, and the versions that what it paints depends on."""

    host: str
    pid: int
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """What the segments of one video are painted by; `job` is settled."""

    job: RenderJob
    style: Style
    source: Package
    model: Package


@dataclass(frozen=True, slots=True)
class Painted:
    """What became of a segment: `data` is its file, or with an `error` the part until then."""

    data: bytes | None = None
    error: RtstyleError | None = None


def versions() -> tuple[str, ...]:
    """Of all that a segment's bytes depend on and that need not be the same on every machine."""
    told = [f"rtstyle {version('rtstyle')}", f"PyAV {av.__version__}"]
    return (*told, *(f"{name} {version(name)}" for name in ("numpy", "openvino", "onnxruntime")))


class Worker:
    """Paints one segment at a time; its other methods may be called meanwhile.

    What it keeps until it is closed is in the folder `scratch`, which all workers of one machine
    share; a relative one is in the folder for temporary files there.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = Path(tempfile.gettempdir()) / scratch
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._copied: list[Path] = []
        self._places: dict[str, dict[Path, Path]] = {}
        self._stack = ExitStack()
        self._engine: Engine | None = None
        self._opened: object = None
        self._frames = 0
        self._stopped = False

    def facts(self) -> Facts:
        """Who this is."""
        return Facts(platform.node(), os.getpid(), versions())

    def lacks(self, package: Package) -> bool:
        """Whether the package has to be sent."""
        if (found := package.located(self._scratch)) is not None:
            self._places[package.digest] = found
        return found is None

    def take(self, package: Package, name: str, place: int, piece: bytes) -> str | None:
        """Keep a piece of a package; why that is not possible."""
        try:
            package.take(self._scratch, name, place, piece)
        except OSError as error:
            return f"{self._scratch} on {platform.node()}: {error.strerror or error}"
        return None

    def complete(self, package: Package) -> None:
        """The package is whole."""
        self._copied.append(package.complete(self._scratch))
        self.lacks(package)

    def open(self, order: Order) -> str | RtstyleError:
        """Have the engine ready; its name, or why there is none."""
        try:
            return self._engine_for(order)[0].name
        except RtstyleError as error:
            return error

    def paint(self, order: Order, segment: Segment) -> Painted:
        """Paint a segment; `frames` tells meanwhile how far it is."""
        self._frames = 0
        with TemporaryDirectory(dir=self._scratch) as made:
            whole, part = Path(made) / "whole", Path(made) / "part"
            try:
                engine, style = self._engine_for(order)
                paint_segments(
                    order.job, [self._here(segment, order)],
                    lambda number: whole if number >= 0 else part,
                    engine=engine, style=style, on_frame=self._tell,
                )  # fmt: skip
                return Painted(whole.read_bytes())
            except RtstyleError as error:
                return Painted(part.read_bytes() if part.exists() else None, error)
            except OSError as error:
                return Painted(error=OutputError(f"{made} cannot be written: {error.strerror}."))

    def frames(self) -> int:
        """How many frames of its segment are painted."""
        return self._frames

    def close(self) -> None:
        """Stop painting, and remove what was copied here."""
        self._stopped = True
        for folder in self._copied:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            self._scratch.rmdir()  # of the last worker here

    def _tell(self, report: Report) -> None:
        self._frames = report.frames_out
        if self._stopped:
            raise ClusterError("The worker was closed.")

    def _here(self, segment: Segment, order: Order) -> Segment:
        found = self._located(order.source)
        origin = segment.video.origin
        paths = tuple(found[path.absolute()] for path in origin.paths)
        return replace(segment, video=replace(segment.video, origin=replace(origin, paths=paths)))

    def _engine_for(self, order: Order) -> tuple[Engine, Style]:
        job, style = order.job, order.style
        path = self._located(order.model)[style.model.path.absolute()]
        style = replace(style, model=replace(style.model, path=path))
        wanted = (order.model.digest, path, job.engine)
        if self._engine is None or self._opened != wanted:
            self._engine = None
            self._stack.close()
            self._engine = self._stack.enter_context(open_engine(job.engine, style.model))
            self._opened = wanted
        return self._engine, style

    def _located(self, package: Package) -> dict[Path, Path]:
        return self._places[package.digest]
