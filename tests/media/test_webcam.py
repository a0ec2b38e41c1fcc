"""Cameras without a camera: what the driver would say is said by the test."""

from __future__ import annotations

import errno
import struct
from pathlib import Path
from typing import Any

import pytest
from av.error import FFmpegError
from hypothesis import given
from hypothesis import strategies as st

from rtstyle.errors import MediaError
from rtstyle.media.devices import webcam
from rtstyle.media.devices.cameras import Camera, camera_of, parse_modes
from rtstyle.media.devices.webcam import WebcamSource, chosen, nearest
from rtstyle.media.options import CameraMode as Mode

HD = Mode(1280, 720, 30, "mjpeg")
CAMERAS = [Camera("/dev/video0", "Front Camera"), Camera("/dev/video2", "HD Pro Webcam C920")]


class Driver:
    """A UVC camera as videodev2.h lets it answer: MJPG in two sizes, YUYV in one."""

    SIZES = {"MJPG": [(1280, 720), (640, 480)], "YUYV": [(640, 480)]}  # noqa: RUF012
    RATES = {(1280, 720): [30], (640, 480): [30, 15]}  # noqa: RUF012

    def __init__(self, capabilities: int = 1) -> None:
        self._capabilities = capabilities

    def __call__(self, request: int, data: bytearray) -> None:
        number = request & 0xFF
        if request >> 16 & 0x3FFF != len(data):
            raise OSError(errno.EINVAL, "wrong size")
        if number == 0:
            struct.pack_into("16s32s", data, 0, b"uvcvideo", b"Test Camera")
            struct.pack_into("II", data, 84, 0x80000001, self._capabilities)
            return
        (index,) = struct.unpack_from("I", data)
        if number == 2:
            formats = list(self.SIZES)
            data[44:48] = self._at(formats, index).encode()
        elif number == 74:
            sizes = self.SIZES[bytes(data[4:8]).decode()]
            struct.pack_into("III", data, 8, 1, *self._at(sizes, index))
        else:
            rates = self.RATES[struct.unpack_from("II", data, 8)]
            struct.pack_into("III", data, 16, 1, 1, self._at(rates, index))

    @staticmethod
    def _at(items: list[Any], index: int) -> Any:
        if index >= len(items):
            raise OSError(errno.EINVAL, "the end of the list")
        return items[index]


def test_a_camera_tells_its_modes() -> None:
    camera = camera_of(Path("/dev/video0"), Driver())
    assert camera == Camera(
        "/dev/video0", "Test Camera",
        (
            Mode(640, 480, 15, "mjpeg"), Mode(640, 480, 15, "yuyv422"),
            Mode(640, 480, 30, "mjpeg"), Mode(640, 480, 30, "yuyv422"), HD,
        ),
    )  # fmt: skip


def test_a_device_that_films_nothing_is_no_camera() -> None:
    assert camera_of(Path("/dev/video1"), Driver(capabilities=2)) is None


def test_the_nearest_mode_is_taken() -> None:
    modes = [Mode(640, 480, 30, "mjpeg"), Mode(1920, 1080, 5, "yuyv422"), HD,
             Mode(1280, 720, 10, "yuyv422")]  # fmt: skip
    assert nearest(HD, modes) == HD
    assert nearest(Mode(1280, 720, 30, "yuyv422"), modes) == HD  # the rate before the codec
    assert nearest(Mode(600, 400, 30, "mjpeg"), modes) == modes[0]
    assert nearest(Mode(1300, 700, 60, "mjpeg"), modes) == HD
    assert nearest(HD, []) is None


@given(
    st.lists(
        st.builds(Mode, st.integers(1, 8000), st.integers(1, 8000), st.floats(0, 240),
                  st.sampled_from(["mjpeg", "yuyv422"])),
        min_size=1,
    )
)  # fmt: skip
def test_a_mode_that_is_there_is_the_nearest_to_itself(modes: list[Mode]) -> None:
    wanted = next((mode for mode in modes if mode.rate >= 1), None)
    found = nearest(wanted or HD, modes)
    assert found in modes
    if wanted is not None and found is not None:
        assert abs(found.width * found.height / (wanted.width * wanted.height) - 1) < 0.01


def test_modes_are_read_from_what_other_systems_print() -> None:
    dshow = (
        "  pixel_format=yuyv422  min s=640x480 fps=5 max s=640x480 fps=30\n"
        "  vcodec=mjpeg  min s=1280x720 fps=5 max s=1280x720 fps=30\n"
        "  vcodec=mjpeg  min s=1280x720 fps=5 max s=1280x720 fps=30\n"
    )
    assert parse_modes(dshow) == (Mode(640, 480, 30, "yuyv422"), HD)
    assert parse_modes("  640x480@[15.000000 30.000030]fps\n") == (Mode(640, 480, 30.00003, "raw"),)
    assert parse_modes("nothing of the kind") == ()


@pytest.mark.parametrize(
    ("which", "address"),
    [("0", "/dev/video0"), ("2", "/dev/video2"), ("1", "/dev/video2"), ("c920", "/dev/video2"),
     ("/dev/video2", "/dev/video2"), ("Front Camera", "/dev/video0")],
)  # fmt: skip
def test_a_camera_is_found_by_number_name_and_path(which: str, address: str) -> None:
    assert chosen(which, CAMERAS).address == address


def test_a_camera_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(MediaError, match="No camera was found"):
        chosen("0", [])
    with pytest.raises(MediaError, match="HD Pro Webcam"):
        chosen("/dev/video9", CAMERAS)


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.EBUSY, "is busy"), (errno.EACCES, "permission denied"), (errno.ENODEV, "is gone"),
     (errno.EIO, "cannot be opened")],
)  # fmt: skip
def test_what_a_driver_refuses_is_one_sentence(
    code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise FFmpegError(code, "driver says no")

    monkeypatch.setattr(webcam, "find_cameras", lambda: CAMERAS)
    monkeypatch.setattr(webcam, "AvDevice", refuse)
    with pytest.raises(MediaError, match=words) as caught:
        WebcamSource("0")
    assert "Front Camera" in str(caught.value)
