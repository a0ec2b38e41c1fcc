"""Segments painted by workers of a real Ray on this machine: as if they had been painted here."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import rtstyle.cluster.package
import rtstyle.cluster.workers
from rtstyle.cli.options import inputs_and_output, targets
from rtstyle.cluster.connection import connected
from rtstyle.cluster.package import Package
from rtstyle.cluster.run import Cluster, render_connected, render_on_cluster, share_of
from rtstyle.cluster.worker import WorkerInfo
from rtstyle.cluster.workers import Share
from rtstyle.engines import EngineOptions
from rtstyle.errors import ClusterError, MediaError, UsageError
from rtstyle.image import Look
from rtstyle.media import WriteOptions
from rtstyle.metrics import Report
from rtstyle.rendering.api import render_job
from rtstyle.rendering.job import Listener, RenderJob
from rtstyle.rendering.timeline import Change
from rtstyle.style.parse import find_style
from rtstyle.style.style import find_styles
from tests.media.clips import Clip, make_clip
from tests.rendering.renders import CLIP, HALF, frame_times, paint, sound, state_of

if find_spec("ray") is None:  # not imported here: what it prints is set before that
    pytest.skip("ray is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clips") / "a.mp4", CLIP)


@pytest.fixture(scope="module")
def here(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What this process makes of it."""
    output = tmp_path_factory.mktemp("here") / "o.mp4"
    paint(clip, output)
    return output.read_bytes()


@pytest.fixture(scope="module")
def ray() -> Iterator[Path]:
    with connected("auto", cpus=2, gpus=()) as scratch:
        yield scratch


def _job(source: Path, output: Path, **chosen: Any) -> RenderJob:
    return RenderJob(
        source=source,
        output=output,
        style=find_styles()[0],
        engine=EngineOptions(name="identity", threads=1),
        writing=WriteOptions(preset="ultrafast"),
        segments=HALF,
        steady=1.0,  # it has a memory, which cuts must not show
        **chosen,
    )


def _paint(
    ray: Path,
    *jobs: RenderJob,
    notes: list[str] | None = None,
    on_frame: Callable[[Report, int | None], None] = lambda report, total: None,
    on_worker: Callable[[WorkerInfo], None] = lambda facts: None,
) -> Report:
    listener = Listener(on_frame, ([] if notes is None else notes).append)
    return render_connected(jobs, 2, ray, listener, on_worker)


def test_a_lost_worker_costs_its_segment(
    ray: Path, clip: Path, here: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workers: list[int] = []
    killed: list[int] = []

    def hang(facts: WorkerInfo) -> None:
        if not workers:
            os.kill(facts.pid, signal.SIGSTOP)
        workers.append(facts.pid)

    def kill(report: Report, total: int | None) -> None:
        """Once all but the segment of the first worker are painted."""
        assert total == 60
        if report.frames_out == 40 and not killed:
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    output = tmp_path / "o.mp4"
    report = _paint(ray, _job(clip, output), on_frame=kill, on_worker=hang)
    assert killed
    assert len(set(workers)) in (2, 3)  # another may take it before there is a new one
    assert report.frames_out == 60
    assert output.read_bytes() == here
    assert list(tmp_path.iterdir()) == [output]
    assert not list(ray.glob("rtstyle-*/*/*"))
    assert capsys.readouterr().out == ""  # Ray would report the lost worker there


def test_several_videos_without_a_shared_disk(
    ray: Path, clip: Path, here: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file that this process has is one that a worker has."""
    mark = rtstyle.cluster.package._mark
    monkeypatch.setattr(rtstyle.cluster.package, "_mark", lambda path: {"other": 1, **mark(path)})
    monkeypatch.setattr(rtstyle.cluster.package, "_PIECE_BYTES", 5000)
    other = make_clip(tmp_path / "b.mkv", Clip(range(0, 2400, 40), Fraction(1, 1000),
                                              keyframe_every=10, audio_seconds=2))  # fmt: skip
    paint(other, tmp_path / "here.mkv")
    one, two = tmp_path / "one.mp4", tmp_path / "two.mkv"
    notes: list[str] = []
    assert _paint(ray, _job(clip, one), _job(other, two), notes=notes).frames_out == 120, notes
    assert one.read_bytes() == here
    assert frame_times(two) == frame_times(tmp_path / "here.mkv")
    assert sound(two) == sound(tmp_path / "here.mkv")
    assert not list(ray.glob("rtstyle-*/*"))


def test_changes_come_at_the_same_frames(ray: Path, clip: Path, tmp_path: Path) -> None:
    """With two models, of which one worker may need either or both."""
    udnie, other = find_style("udnie"), find_style("stylebank:udnie")
    changes = (
        Change(time=Fraction(3, 10), style=other, look=Look(), fade=Fraction(1)),
        Change(time=Fraction(2), style=udnie, look=Look(strength=0.5)),
    )
    engine = EngineOptions(name="openvino", threads=1)
    jobs = [
        replace(_job(clip, tmp_path / name), style=udnie, engine=engine, changes=changes)
        for name in ("here.mp4", "there.mp4")
    ]
    render_job(jobs[0])
    assert _paint(ray, jobs[1]).frames_out == 60
    assert (tmp_path / "there.mp4").read_bytes() == (tmp_path / "here.mp4").read_bytes()


def test_an_interrupted_run_is_finished_here(
    ray: Path, clip: Path, here: bytes, tmp_path: Path
) -> None:
    output, notes = tmp_path / "o.mp4", list[str]()

    def press(report: Report, total: int | None) -> None:
        if report.frames_out >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _paint(ray, _job(clip, output), on_frame=press)
    n_kept = len(list(state_of(output).glob("*.segment")))
    assert n_kept
    assert paint(clip, output, notes=notes).resumed == 20 * n_kept
    assert output.read_bytes() == here


def test_a_damaged_input_leaves_its_good_part(ray: Path, clip: Path, tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mkv", Clip(range(0, 2400, 40), Fraction(1, 1000),
                                             keyframe_every=10, audio_seconds=2.4))  # fmt: skip
    made.write_bytes(made.read_bytes()[: made.stat().st_size * 3 // 4])
    with pytest.raises(MediaError, match="damaged"):
        paint(made, tmp_path / "here.mp4")
    with pytest.raises(MediaError, match="damaged"):
        _paint(ray, _job(made, tmp_path / "there.mp4"))
    assert (tmp_path / "there.mp4").read_bytes() == (tmp_path / "here.mp4").read_bytes()
    assert not state_of(tmp_path / "there.mp4").exists()


def test_other_versions_are_refused(
    ray: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = rtstyle.cluster.workers.versions()
    monkeypatch.setattr(rtstyle.cluster.workers, "versions", lambda: ("rtstyle 9", *ours[1:]))
    with pytest.raises(ClusterError, match=r"has rtstyle .*, not rtstyle 9; install the same"):
        _paint(ray, _job(clip, tmp_path / "o.mp4"))
    assert not list(tmp_path.iterdir())


def test_sigterm_ends_all_and_keeps_what_is_painted(tmp_path: Path) -> None:
    """From the command line, with a Ray of its own; the videos are then finished without one."""
    folder = tmp_path / "out"
    long = Clip(range(0, 250 * 512, 512), width=320, height=240, keyframe_every=25)
    clips = [make_clip(tmp_path / f"{name}.mp4", long) for name in ("a", "b")]
    command = [
        sys.executable, "-m", "rtstyle", "render", *map(str, clips), "-o", str(folder),
        "--cluster", "auto", "--cluster-workers", "2", "--threads", "1", "--engine", "identity",
        "--segment", "1", "--preset", "veryslow",
    ]  # fmt: skip
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 60
        while not list(folder.glob(".*.resume/000000.segment")):  # outputs begin with the first one
            assert run.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        run.terminate()
        out, errors = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130
    lines = [line for line in errors.splitlines() if not line.startswith("note: ")]
    assert (out, lines) == ("", ["rtstyle: Interrupted."])
    kept = list(folder.glob(".*.resume/*.segment"))
    assert 0 < len(kept) < 20
    assert "holds the" in errors


def test_what_does_not_answer_as_ray(clip: Path, tmp_path: Path) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *given: None  # type: ignore[assignment]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        began = time.monotonic()
        for address in ("127.0.0.1:1", f"127.0.0.1:{server.server_port}", "nonsense"):
            with pytest.raises(ClusterError, match=f"No Ray answers at {address}"):
                render_on_cluster([_job(clip, tmp_path / "o.mp4")], Cluster(address=address))
        assert time.monotonic() - began < 20
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_missing_ray_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ClusterError, match=r"pip install 'rtstyle\[cluster\]'"),
        connected("auto", cpus=1, gpus=()),
    ):
        pass


def test_a_package_is_found_only_where_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtstyle.cluster.package, "_PIECE_BYTES", 10_000)
    there = tmp_path / "there" / "sub"
    there.mkdir(parents=True)
    copies = tmp_path / "copies"
    copies.mkdir()
    files = [there / "a.mp4", there.parent / "empty.onnx"]
    files[0].write_bytes(bytes(range(256)) * 100)
    files[1].write_bytes(b"")
    package = Package.of(files, there.parent)
    assert package.located(copies) == {path: path for path in files}
    pieces = list(package.pieces())
    files[0].write_bytes(b"another")
    assert package.located(copies) is None
    for piece in reversed(pieces):
        package.take(copies, *piece)
    assert package.located(copies) is None
    package.complete(copies)
    found = package.located(copies)
    assert found is not None
    assert [found[path].read_bytes() for path in files] == [bytes(range(256)) * 100, b""]


def test_what_a_worker_takes() -> None:
    def node(**resources: float) -> dict[str, Any]:
        return {"Alive": True, "Resources": resources}

    def share(nodes: list[dict[str, Any]], workers: int | None = None, **chosen: Any) -> Share:
        engine = EngineOptions(**chosen)
        job = RenderJob(source=Path("a"), output=Path("b"), style=find_styles()[0], engine=engine)
        return share_of(job, nodes, workers)

    plain, with_gpus = [node(CPU=16.0), node(CPU=6.0)], [node(CPU=16.0), node(CPU=6.0, GPU=2.0)]
    assert share(plain) == Share(4)
    assert share([node(CPU=2.0)], workers=2) == Share(1)
    assert share(plain, threads=8) == Share(8)
    assert share(with_gpus) == share(plain, devices=(0,)) == share(plain, name="tensorrt")
    assert share(with_gpus) == Share(1, 1)
    assert share(with_gpus, name="openvino") == Share(4)
    assert (Share(4).fitting(plain), Share(1, 1).fitting(with_gpus), Share(32).fitting(plain)) == (
        5, 2, 0,
    )  # fmt: skip
    assert Share(4).fitting([{**plain[0], "Alive": False}]) == 0


def test_inputs_and_outputs(tmp_path: Path) -> None:
    folder = str(tmp_path / "out")
    for paths, inputs, output in (
        (["a", "b", folder], [], None), (["a", "b"], [], folder), (["a"], ["b"], folder),
        ([folder], ["a", "b"], None),
    ):  # fmt: skip
        found = inputs_and_output(paths, inputs, output)
        assert (sorted(found[0]), found[1]) == (["a", "b"], folder)
    assert inputs_and_output(["a", "o"], [], None) == (["a"], "o")
    for paths, inputs, output, what in (
        (["a"], [], None, "OUTPUT"), ([], ["a"], None, "OUTPUT"), ([], [], "o", "INPUT"),
        ([], [], None, "INPUT"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"{what} is missing"):
            inputs_and_output(paths, inputs, output)
    assert targets(["a.mp4"], folder, folder=False) == [("a.mp4", folder)]
    assert targets(["a.mp4"], folder, folder=True) == [("a.mp4", f"{folder}/a.mp4")]
    assert [name for _, name in targets(["x/a.ts", "b.webm"], folder, folder=False)] == [
        f"{folder}/a.mp4", f"{folder}/b.webm",
    ]  # fmt: skip
    (tmp_path / "photos").mkdir()
    found = targets(["a.mp4", f"{tmp_path}/photos/"], folder, folder=False)
    assert [name for _, name in found] == [f"{folder}/a.mp4", f"{folder}/photos"]
    with pytest.raises(UsageError, match="names a file"):
        targets(["a.mp4", "b.mp4"], "o.mp4", folder=False)
    with pytest.raises(UsageError, match="same name"):
        targets(["x/a.mp4", "y/a.mp4"], folder, folder=False)


def test_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="becomes a video"):
        render_on_cluster([_job(tmp_path / "a.mp4", tmp_path / "o.png")], Cluster())
