"""What a file or an address names besides itself is not opened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtstyle.errors import MediaError, RtstyleError
from rtstyle.media import open_source
from rtstyle.media.devices.capture import StreamSource
from rtstyle.media.devices.source import Patience
from tests.media.clips import Clip, make_clip

# Lists that FFmpeg plays when it is asked to, whatever the file is called.
LISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
    "hls by url": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n",
    "hls of parts": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nconcat:{path}|{path}\n",
    "concat": "ffconcat version 1.0\nfile '{path}'\n",
    "concat with a protocol": "ffconcat version 1.0\nfile 'subfile,,start,0,end,0,,:{path}'\n",
    "dash": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{path}'
        "</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ),
    "sdp": (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    ),
    "metalink": '#!/bin/sh\nexec cat "{path}"\n',
}


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole video that the tricky files name: it would play."""
    path = make_clip(
        tmp_path_factory.mktemp("secret") / "secret.ts", Clip(range(0, 100 * 512, 512))
    )
    with open_source(path) as source:
        assert len(list(source.frames())) == 100
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ts", ".mkv", ".txt", ".ffconcat", ".mpd"])
@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_no_video(name: str, suffix: str, secret: Path, tmp_path: Path) -> None:
    tricky = tmp_path / f"tricky{suffix}"
    for named in (str(secret), secret.name):
        (tmp_path / secret.name).write_bytes(secret.read_bytes())  # beside it, too
        tricky.write_text(LISTS[name].format(path=named))
        with pytest.raises(MediaError, match="not a video that can be read"):
            open_source(tricky)


@pytest.mark.parametrize(
    "name",
    [
        "concat:{path}|{path}", "file:{path}", "subfile,,start,0,end,0,,:{path}", "cache:{path}",
        "async:{path}", "crypto:{path}", "data:video/mp2t;base64,AAAA", "pipe:0", "fd:",
        "tee:{path}",
    ],
)  # fmt: skip
def test_a_protocol_in_a_name_is_part_of_the_name(name: str, secret: Path) -> None:
    with pytest.raises(RtstyleError, match=r"[Tt]here (is|are) no|folder"):
        open_source(name.format(path=secret))


def test_a_film_whose_tracks_lie_elsewhere(secret: Path, tmp_path: Path) -> None:
    """QuickTime's data references name other files; ours say that the data is here, flag 1."""
    make_clip(tmp_path / "media.mp4", Clip())
    whole = (tmp_path / "media.mp4").read_bytes()
    here = b"\x00\x00\x00\x0curl \x00\x00\x00\x01"
    assert here in whole
    away = b"\x00\x00\x00\x0curl \x00\x00\x00\x00"
    (tmp_path / "away.mp4").write_bytes(whole.replace(here, away))
    with open_source(tmp_path / "away.mp4") as source:
        assert len(list(source.frames())) == 12  # what is named is ignored, what is here is played


SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        secret = sys.argv[1]
        lists = {
            "/list.m3u8": f"#EXTM3U\\n#EXT-X-TARGETDURATION:9\\n#EXTINF:9,\\nfile://{secret}\\n#EXT-X-ENDLIST\\n",
            "/udp.m3u8": "#EXTM3U\\n#EXT-X-TARGETDURATION:9\\n#EXTINF:9,\\nudp://127.0.0.1:9\\n#EXT-X-ENDLIST\\n",
            "/list.ffconcat": f"ffconcat version 1.0\\nfile 'file:{secret}'\\n",
        }
        if self.path == "/plain.ts":
            data = open(secret, "rb").read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        elif self.path in lists:
            self.send_response(200); self.end_headers()
            self.wfile.write(lists[self.path].encode())
        else:
            self.send_response(302)
            self.send_header("Location", self.path[1:].replace("SECRET", secret))
            self.end_headers()
    def log_message(self, *args):
        pass

server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def server(secret: Path) -> Iterator[str]:
    """The address of a web server in a process of its own, as FFmpeg holds the interpreter."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(secret)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def test_the_server_that_the_next_tests_ask_would_play(server: str) -> None:
    with StreamSource(f"{server}/plain.ts") as source:
        assert next(iter(source.frames())).image.shape == (48, 64, 3)


@pytest.mark.parametrize(
    "page",
    [
        "list.m3u8", "list.ffconcat", "udp.m3u8", "file://SECRET", "file:SECRET", "concat:SECRET",
        "udp://127.0.0.1:9",
    ],
)  # fmt: skip
def test_the_network_does_not_lead_to_files_or_other_protocols(page: str, server: str) -> None:
    with pytest.raises(MediaError, match=r"cannot be played|sends no|did not open"):
        StreamSource(f"{server}/{page}", patience=Patience(opening=5)).close()


def test_an_address_is_one_of_those_that_are_meant() -> None:
    for address in ("gopher://127.0.0.1/", "ftp://127.0.0.1/a.mp4", "tcp://127.0.0.1:9"):
        with pytest.raises(RtstyleError):
            open_source(address, live=True)
