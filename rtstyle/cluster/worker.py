"""What runs on Ray: a process with an open engine that stylizes segments."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import av

from rtstyle.cluster.package import Package
from rtstyle.errors import ClusterError, OutputError, RtstyleError
from rtstyle.metrics import Report
from rtstyle.rendering.encode import Batch, encode_segments
from rtstyle.rendering.engines import Engines
from rtstyle.rendering.job import RenderJob
from rtstyle.rendering.plan import Segment
from rtstyle.style.style import Area, Style


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Where a worker runs, and the versions that its output depends on."""

    host: str
    pid: int
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """A settled job, and the files that a worker needs for its segments."""

    job: RenderJob
    source: Package
    model: Package


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one segment: its file's `data`, or with an `error` the part before it."""

    data: bytes | None = None
    error: RtstyleError | None = None


def versions() -> tuple[str, ...]:
    """Of everything that a segment's bytes depend on and that may differ between machines."""
    libraries = ("numpy", "openvino", "onnxruntime")
    return (
        f"rtstyle {version('rtstyle')}",
        f"PyAV {av.__version__}",
        *(f"{name} {_version_of(name)}" for name in libraries),
    )


def _version_of(library: str) -> str:
    """As installed; an environment need not have every runtime."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


class Worker:
    """Stylizes one segment at a time; its other methods may be called meanwhile.

    Files that it keeps until it is closed are in the folder `scratch`, which all workers of one
    machine share; a relative one is within that machine's folder for temporary files.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = Path(tempfile.gettempdir()) / scratch
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._copied: list[Path] = []
        self._places: dict[str, dict[Path, Path]] = {}
        self._engines = Engines()
        self._opened: object = None
        self._frames = 0
        self._stopped = False

    def info(self) -> WorkerInfo:
        """Where this runs."""
        return WorkerInfo(platform.node(), os.getpid(), versions())

    def lacks(self, package: Package) -> bool:
        """Whether the package has to be sent."""
        if (found := package.located(self._scratch)) is not None:
            self._places[package.digest] = found
        return found is None

    def take(self, package: Package, name: str, place: int, piece: bytes) -> str | None:
        """Keep a piece of a package; returns why that is impossible."""
        try:
            package.take(self._scratch, name, place, piece)
        except OSError as error:
            return f"{self._scratch} on {platform.node()}: {error.strerror or error}"
        return None

    def complete(self, package: Package) -> None:
        """All pieces of the package were sent."""
        self._copied.append(package.complete(self._scratch))
        self.lacks(package)

    def open(self, order: Order) -> str | RtstyleError:
        """Open the engine; returns its name, or why it does not open."""
        try:
            job = self._open(order)
            return self._engines.get(job.engine, job.style, job.look).name
        except RtstyleError as error:
            return error

    def encode(self, order: Order, segment: Segment) -> Outcome:
        """Stylize and encode a segment; `frames` counts meanwhile."""
        self._frames = 0
        with TemporaryDirectory(dir=self._scratch) as made:
            whole, part = Path(made) / "whole", Path(made) / "part"
            places = self._places[order.source.digest]
            origin = segment.video.origin
            origin = replace(origin, paths=tuple(places[p.absolute()] for p in origin.paths))
            segment = replace(segment, video=replace(segment.video, origin=origin))
            try:
                job = self._open(order)
                batch = Batch(
                    job=job,
                    segments=[segment],
                    path=lambda number: whole if number >= 0 else part,
                    on_frame=self._count,
                )
                encode_segments(batch, self._engines)
                return Outcome(whole.read_bytes())
            except RtstyleError as error:
                return Outcome(part.read_bytes() if part.exists() else None, error)
            except OSError as error:
                return Outcome(error=OutputError(f"{made} cannot be written: {error.strerror}."))

    def frames(self) -> int:
        """How many frames of the current segment are done."""
        return self._frames

    def close(self) -> None:
        """Stop, and remove what was copied here."""
        self._stopped = True
        for folder in self._copied:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            self._scratch.rmdir()  # succeeds for the last worker here

    def _count(self, report: Report) -> None:
        self._frames = report.frames_out
        if self._stopped:
            raise ClusterError("The worker was closed.")

    def _open(self, order: Order) -> RenderJob:
        """The job with its models where this machine has them, for which engines can be opened."""
        wanted = (order.model.digest, order.job.engine)
        if self._opened != wanted:
            self._engines.close()
            self._opened = wanted
        places = self._places[order.model.digest]

        def here(style: Style) -> Style:
            path = places[style.model.path.absolute()]
            return replace(style, model=replace(style.model, path=path))

        def all_here(areas: tuple[Area, ...]) -> tuple[Area, ...]:
            return tuple(replace(a, style=a.style and here(a.style)) for a in areas)

        job = order.job
        changes = tuple(
            replace(c, style=here(c.style), areas=all_here(c.areas)) for c in job.changes
        )
        return replace(job, style=here(job.style), changes=changes, areas=all_here(job.areas))
