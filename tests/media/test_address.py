"""Videos that are no files: addresses, patterns, and file:PATH."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from rtstyle.errors import MediaError, RtstyleError, UsageError
from rtstyle.media import ReadOptions, open_source, place_of
from rtstyle.media.video import address
from rtstyle.media.video.address import without_login
from tests.media.clips import Clip, make_clip
from tests.rendering.renders import frame_times, paint, sound

SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", unquote(self.path[4:]))
            self.end_headers()
            return
        data = open(sys.argv["half" in self.path and 2 or 1], "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.path == "/stalls.mp4":
            self.wfile.write(data[:1000])
            time.sleep(60)
        if self.path == "/half.mkv":
            self.wfile.write(data[: len(data) * 3 // 4])
            self.wfile.flush()
            time.sleep(60)
        self.wfile.write(data)
    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "a.mp4", Clip(audio_seconds=0.5))


@pytest.fixture(scope="module")
def server(clip: Path) -> Iterator[str]:
    long = make_clip(clip.with_name("long.mkv"), Clip(range(0, 20_000, 40), Fraction(1, 1000)))
    command = [sys.executable, "-c", SERVER, str(clip), str(long)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def test_an_address_becomes_what_its_file_does(server: str, clip: Path, tmp_path: Path) -> None:
    for source, name in ((clip, "file.mp4"), (f"{server}/a.mp4?key=1", "address.mp4")):
        paint(source, tmp_path / name, segments=None)
    assert (tmp_path / "address.mp4").read_bytes() == (tmp_path / "file.mp4").read_bytes()
    assert sound(tmp_path / "address.mp4")
    paint(f"{server}/a.mp4", tmp_path / "again.mp4")  # segments need a file: painted in one go
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "file.mp4").read_bytes()


def test_an_address_that_stalls_is_given_up(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert address.PATIENCE_SECONDS == 30
    monkeypatch.setattr(address, "PATIENCE_SECONDS", 0.3)
    with pytest.raises(MediaError, match=rf"{server}/stalls.mp4 .*nothing came for 0.3 s"):
        open_source(f"{server}/stalls.mp4")
    with (
        open_source(f"{server}/half.mkv") as source,
        pytest.raises(MediaError, match=r"half\.mkv breaks off: frame .*nothing came for too long"),
    ):
        assert len(list(source.frames())) < 500


def test_no_redirect_leads_to_a_file(server: str, clip: Path) -> None:
    with open_source(f"{server}/to/{server}/a.mp4") as source:
        assert len(list(source.frames())) == 12
    for target in (f"file:{clip}", f"file://{clip}"):
        with pytest.raises(RtstyleError, match="cannot be painted"):
            open_source(f"{server}/to/{target}")


def test_an_address_that_is_not_there_is_shown_as_given() -> None:
    with pytest.raises(MediaError, match=r"^http://127\.0\.0\.1:9/no\.mp4 cannot be painted"):
        open_source("http://127.0.0.1:9/no.mp4")
    assert without_login("https://me:secret@host/a.mp4?b=c") == "https://host/a.mp4?b=c"


def test_a_pattern_is_painted_to_its_end(tmp_path: Path) -> None:
    pattern = "lavfi:testsrc2=size=64x48:rate=25"
    paint(pattern, tmp_path / "a.mp4", reading=ReadOptions(duration=Fraction(1, 5)))
    paint(f"{pattern}:duration=0.4", tmp_path / "b.mp4")
    assert frame_times(tmp_path / "a.mp4") == [Fraction(i, 25) for i in range(5)]
    assert frame_times(tmp_path / "b.mp4") == [Fraction(i, 25) for i in range(10)]
    with pytest.raises(UsageError, match="no end; say with --duration"):
        open_source(pattern)
    with pytest.raises(UsageError, match="begins with one of"):
        open_source("lavfi:movie=/etc/passwd:duration=1")
    with pytest.raises(UsageError, match="does not understand"):
        open_source("lavfi:testsrc2=duration=1,nonsense")


def test_file_before_a_path_means_the_path(clip: Path, tmp_path: Path) -> None:
    paint(f"file:{clip}", tmp_path / "a.mp4")
    assert frame_times(tmp_path / "a.mp4") == frame_times(clip)
    assert place_of("file:a/b.mp4") == Path("a/b.mp4")
    assert place_of("http://a/b.mp4") == "http://a/b.mp4"
