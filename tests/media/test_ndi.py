"""The NDI sink by the library itself, which offers frames and takes them in again."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest

from rtstyle.errors import MissingExtraError
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media import open_sink
from rtstyle.media.base import SinkRequest

INFO = StreamInfo(320, 180, Fraction(30), Fraction(1, 1000))


def test_without_its_library_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cyndilib", None)
    monkeypatch.setitem(sys.modules, "cyndilib.sender", None)
    with pytest.raises(MissingExtraError, match=r"NDI needs cyndilib.*rtstyle\[ndi\]"):
        open_sink("ndi", SinkRequest(INFO), live=True)


def test_frames_arrive_with_their_alpha(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cyndilib.sender", reason="cyndilib is not installed")
    from cyndilib.finder import Finder
    from cyndilib.receiver import Receiver
    from cyndilib.video_frame import VideoFrameSync
    from cyndilib.wrapper.ndi_recv import RecvColorFormat

    networks = {"ndi": {"networks": {"ips": "127.0.0.1,"}}}  # where there is no multicast
    (tmp_path / "ndi-config.v1.json").write_text(json.dumps(networks))
    monkeypatch.setenv("NDI_CONFIG_DIR", str(tmp_path))
    image = np.full((180, 320, 3), (200, 40, 90), np.uint8)
    alpha = np.full((180, 320), 128, np.uint8)
    frame = Frame(image, Fraction(0), 0, alpha=alpha)
    with open_sink("ndi:rtstyle test", SinkRequest(INFO), live=True) as sink, Finder() as finder:
        assert sink.notes == ["NDI offers rtstyle test on the local network."]
        taken: Any = VideoFrameSync()
        receiver = Receiver(color_format=RecvColorFormat.RGBX_RGBA)
        receiver.frame_sync.set_video_frame(taken)
        until = monotonic() + 20
        while monotonic() < until and taken.xres == 0:
            sink.write(frame)
            sleep(0.02)
            names = [name for name in finder.get_source_names() if "rtstyle test" in name]
            if names and not receiver.is_connected():
                receiver.set_source(finder.get_source(names[0]))
            elif receiver.is_connected():
                receiver.frame_sync.capture_video()
        assert (taken.xres, taken.yres) == (320, 180)
        pixel = np.asarray(taken.get_array()).reshape(180, 320, 4)[90, 160].astype(int)
    assert np.abs(pixel - [200, 40, 90, 128]).max() <= 6
