"""Keys of other windows, on a display that shows nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

from rtstyle.errors import MissingExtraError, OutputError
from rtstyle.live.commands import parse
from rtstyle.live.hot_keys import KEYS, HotKeys


def test_every_key_gives_a_command() -> None:
    assert {parse(command).name for command in KEYS.values()} >= {"next", "scene", "strength"}


def test_without_pynput_or_a_keyboard_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rtstyle.live.hot_keys.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"rtstyle\[hotkeys\]"):
        HotKeys(print, on_note=print)
    monkeypatch.setattr("rtstyle.live.hot_keys.find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "pynput", None)
    monkeypatch.setitem(sys.modules, "pynput.keyboard", None)
    with pytest.raises(OutputError, match="leave --hot-keys out"):
        HotKeys(print, on_note=print)


_PRESSING = """
import time
from rtstyle.errors import UsageError
from rtstyle.live.hot_keys import HotKeys
from pynput.keyboard import Controller, Key
def do(command):
    print(command, flush=True)
    raise UsageError("no such thing")
with HotKeys(do, on_note=lambda note: print(note, flush=True)):
    keys = Controller()
    time.sleep(0.5)
    for key in (Key.right, Key.up):
        with keys.pressed(Key.ctrl), keys.pressed(Key.alt):
            keys.press(key)
            keys.release(key)
    time.sleep(1)
"""


@pytest.mark.skipif(
    shutil.which("xvfb-run") is None or find_spec("pynput") is None,
    reason="Xvfb or pynput is not installed",
)
def test_keys_are_heard_without_a_window() -> None:
    done = subprocess.run(
        ["xvfb-run", "-a", sys.executable, "-c", _PRESSING],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["next", "no such thing", "strength +0.1", "no such thing"]
