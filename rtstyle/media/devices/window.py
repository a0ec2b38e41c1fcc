"""A window on the screen, drawn by pygame-ce. Lives in the main thread."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Self

import cv2
import numpy as np

from rtstyle.closing import Closing
from rtstyle.errors import OutputError, optional
from rtstyle.frame import Frame, Image, StreamInfo
from rtstyle.media.base import SinkRequest

# What each key does, in the words of `--control`; also what the help in the window shows.
KEYS = {
    "right": "next", "left": "previous", "up": "strength +0.1", "down": "strength -0.1",
    "b": "blend +0.1", "v": "blend -0.1", "c": "color", "s": "split", "m": "mirror",
    ".": "scene next", ",": "scene previous", "space": "pause", "p": "snapshot", "r": "record",
    "q": "quit", "escape": "quit",
    **{str(number): f"style {number}" for number in range(1, 10)},
}  # fmt: skip
_BLIND = ("offscreen", "dummy")
_HELP = (
    "left right  style      1–9  pick      up down  strength      b v  blend",
    "c  colours      s  split      m  mirror      space  pause      , .  scene",
    "p  snapshot      r  record      f  full screen      i  figures      h  help      q  quit",
)


class WindowSink(Closing):
    """Shows frames as large as the window is, with a line of figures over them.

    Keys become commands for `on_command`; f, i and h are the window's own. `status()` is the line
    to show, `notice()` a warning. Closing the window is the command "quit". Used by the main
    thread. Raises `OutputError` where no window can be opened, `MissingExtraError` without
    pygame-ce.
    """

    notes: list[str]

    @classmethod
    def from_name(cls, name: str, request: SinkRequest) -> Self:
        """Open the window, on the panel of a live run if there is one."""
        if (panel := request.panel) is None:
            return cls(request.info)
        return cls(request.info, on_command=panel.do, status=panel.line, notice=panel.notice)

    def __init__(
        self,
        info: StreamInfo,
        *,
        title: str = "rtstyle",
        on_command: Callable[[str], object] = lambda command: None,
        status: Callable[[], str] = str,
        notice: Callable[[], str] = str,
    ) -> None:
        self.notes = []
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        self._pygame: Any = optional("pygame", "The window")
        self._on_command, self._status, self._notice = on_command, status, notice
        self._figures, self._help, self._full = True, False, False
        self._size = (info.width, info.height)
        pygame = self._pygame
        try:
            pygame.display.init()
            pygame.font.init()
            # where there is no screen, SDL falls back to drivers that show nothing
            if pygame.display.get_driver() in _BLIND and "SDL_VIDEODRIVER" not in os.environ:
                raise pygame.error("there is no display")
            pygame.display.set_caption(title)
            self._screen = pygame.display.set_mode(self._size, pygame.RESIZABLE)
        except pygame.error as error:
            raise OutputError(
                f"No window can be opened ({error}); with no display, use --to web."
            ) from error
        self._font = pygame.font.Font(None, 22)
        pygame.mouse.set_visible(True)

    def write(self, frame: Frame) -> None:
        """Show the frame and pass on what keys were pressed."""
        self._take_events()
        self._draw(frame.image)
        self._pygame.display.flip()

    def finish(self, *, complete: bool = True) -> None:
        """Nothing to complete."""

    def close(self) -> None:
        self._pygame.display.quit()
        self._pygame.font.quit()

    def _take_events(self) -> None:
        pygame = self._pygame
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self._on_command("quit")
            elif event.type == pygame.KEYDOWN:
                self._press(pygame.key.name(event.key))

    def _press(self, key: str) -> None:
        if key == "f":
            self._full = not self._full
            mode = self._pygame.FULLSCREEN if self._full else self._pygame.RESIZABLE
            size = (0, 0) if self._full else self._size
            self._screen = self._pygame.display.set_mode(size, mode)
        elif key == "i":
            self._figures = not self._figures
        elif key == "h":
            self._help = not self._help
        elif key in KEYS:
            self._on_command(KEYS[key])

    def _draw(self, image: Image) -> None:
        pygame, screen = self._pygame, self._screen
        width, height = screen.get_size()
        factor = min(width / image.shape[1], height / image.shape[0])
        size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
        if size != (image.shape[1], image.shape[0]):
            filter_ = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
            image = np.asarray(cv2.resize(image, size, interpolation=filter_), np.uint8)
        surface = pygame.image.frombuffer(np.ascontiguousarray(image), size, "RGB")
        if size != (width, height):
            screen.fill((12, 12, 14))
        screen.blit(surface, ((width - size[0]) // 2, (height - size[1]) // 2))
        if self._figures:
            self._write(self._status(), 10)
        if notice := self._notice():
            self._write(notice, 36, (255, 214, 120))
        if self._help:
            for row, line in enumerate(_HELP):
                self._write(line, height - 26 * (len(_HELP) - row) - 6)

    def _write(self, text: str, y: int, colour: tuple[int, int, int] = (245, 245, 245)) -> None:
        if not text:
            return
        label = self._font.render(text, True, colour)
        plate = self._pygame.Surface((label.get_width() + 16, label.get_height() + 8))
        plate.set_alpha(150)
        self._screen.blit(plate, (10, y))
        self._screen.blit(label, (18, y + 4))


def has_display(platform: str = sys.platform) -> bool:
    """Whether a window could open here."""
    if platform.startswith(("win", "darwin")):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
