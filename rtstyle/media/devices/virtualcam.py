"""A virtual camera that other programs open: v4l2loopback on Linux, OBS elsewhere."""

from __future__ import annotations

import sys
from typing import Any, Self

from rtstyle.closing import Closing
from rtstyle.errors import OutputError, optional
from rtstyle.frame import Frame, StreamInfo
from rtstyle.media.base import SinkRequest

_INSTALL = {
    "linux": "install v4l2loopback and load it: sudo apt install v4l2loopback-dkms && "
    "sudo modprobe v4l2loopback exclusive_caps=1 card_label=rtstyle",
    "darwin": "install OBS 30 or newer, start it, and press Start Virtual Camera once",
    "win32": "install OBS, which brings its virtual camera",
}


class VirtualCameraSink(Closing):
    """Shows frames on the virtual camera `device`, the first one by default.

    Raises `OutputError` with the way to install one where there is none, and
    `MissingExtraError` without pyvirtualcam.
    """

    notes: list[str]

    @classmethod
    def from_name(cls, name: str, request: SinkRequest) -> Self:
        """Open `virtualcam` or `virtualcam:DEVICE`."""
        return cls(request.info, device=name.partition(":")[2] or None)

    def __init__(self, info: StreamInfo, *, device: str | None = None) -> None:
        self.notes = []
        library = optional("pyvirtualcam", "The virtual camera")
        try:
            self._camera: Any = library.Camera(
                width=info.width, height=info.height, fps=max(1.0, float(info.rate)), device=device,
                fmt=library.PixelFormat.RGB,
            )  # fmt: skip
        except RuntimeError as error:
            raise OutputError(
                f"No virtual camera can be opened ({_first_line(error)}); "
                f"{_INSTALL.get(sys.platform, _INSTALL['linux'])}."
            ) from error
        self.device = str(self._camera.device)

    def write(self, frame: Frame) -> None:
        """Show the frame; other programs see it from now on."""
        try:
            self._camera.send(frame.image)
        except RuntimeError as error:
            raise OutputError(
                f"The virtual camera {self.device} takes no more frames: {_first_line(error)}."
            ) from error

    def finish(self, *, complete: bool = True) -> None:
        """Nothing to complete."""

    def close(self) -> None:
        self._camera.close()


def _first_line(error: RuntimeError) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return first.partition(". ")[0].replace("'", "").strip(" .")
