"""OSC, MIDI, waves and the beat: the same commands, the same rights, and nothing else."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rtstyle.engines import EngineOptions
from rtstyle.errors import MediaError, OutputError, UsageError
from rtstyle.frame import Frame
from rtstyle.live.commands import PAGE, parse, spoken
from rtstyle.live.controls import Controls
from rtstyle.live.engine_pool import EnginePool
from rtstyle.live.midi import MidiInput
from rtstyle.live.modulation import Modulation, SoundMeter
from rtstyle.live.osc import OscServer
from rtstyle.live.session import Session
from rtstyle.live.settings import Settings
from rtstyle.media.devices.sound import RATE, SoundRing
from rtstyle.media.synthetic import NullSink
from rtstyle.style.style import Style
from tests.live.conftest import Ramp

builder = pytest.importorskip("pythonosc.osc_message_builder", reason="python-osc is missing")
mido = pytest.importorskip("mido", reason="mido is missing")


def _osc(address: str, *arguments: object) -> bytes:
    message = builder.OscMessageBuilder(address)
    for argument in arguments:
        message.add_arg(argument)
    return bytes(message.build().dgram)


@pytest.fixture
def controls(gallery: list[Style]) -> Controls:
    return Controls(gallery, Settings(style=gallery[0]))


def _send(port: int, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port))


def _wait(until: Callable[[], bool]) -> None:
    for _ in range(200):
        if until():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_osc_speaks_the_language_of_the_page(controls: Controls) -> None:
    notes: list[str] = []
    with OscServer("0", controls.do, on_note=notes.append) as server:
        assert server.prefix == "/rtstyle/"
        _send(server.port, _osc("/rtstyle/style", "dark"), _osc("/rtstyle/strength", 0.25),
              _osc("/rtstyle/color", 1), _osc("/rtstyle/next", 0.0), _osc("/rtstyle/mirror", True),
              _osc("/rtstyle/blend", "+0.5"))  # fmt: skip
        _wait(lambda: controls.settings.blend == 0.5)
        now = controls.settings
        assert (now.style.name, now.strength, now.preserve_color, now.mirror) == (
            "dark", 0.25, True, True,
        )  # fmt: skip
        assert notes == []
        for wrong in (_osc("/rtstyle/quit"), _osc("/other/style", "dark"), b"\0" * 7,
                      _osc("/rtstyle/style", "/etc/passwd"),
                      _osc("/rtstyle/strength", float("nan")),
                      _osc("/rtstyle/strength", 1.0, 2.0), _osc("/rtstyle/record", 1)):  # fmt: skip
            server.take(wrong)
        assert controls.settings == now
        assert len(notes) == 1  # of many in a second
    with pytest.raises(UsageError, match="a port such as 9000"):
        OscServer("here", controls.do, on_note=notes.append)


def test_a_port_that_is_taken_is_said_in_a_sentence(controls: Controls) -> None:
    with (
        OscServer("0", controls.do, on_note=print) as server,
        pytest.raises(OutputError, match="choose another port"),
    ):
        OscServer(str(server.port), controls.do, on_note=print)


def test_beyond_this_machine_addresses_hold_a_key(controls: Controls) -> None:
    with OscServer("0.0.0.0:0", controls.do, on_note=lambda note: None) as server:
        assert len(server.key) >= 8
        server.take(_osc("/rtstyle/style", "dark"))
        assert controls.settings.style.name == "bright"
        server.take(_osc(f"{server.prefix}style", "dark"))
        assert controls.settings.style.name == "dark"


def test_a_thousand_seeded_wrong_messages_change_nothing(controls: Controls) -> None:
    rng = random.Random(0)
    good = [_osc("/rtstyle/style", "dark"), _osc("/rtstyle/blend", 0.5), _osc("/rtstyle/next")]
    before = controls.settings
    with OscServer("0", controls.do, on_note=lambda note: None) as server:
        for _ in range(1000):
            wrong = bytearray(rng.choice(good))
            for _ in range(rng.randint(1, 6)):
                wrong[rng.randrange(0, 10)] = rng.randrange(256)  # of the address
            if bytes(wrong[:9]) != b"/rtstyle/":
                server.take(bytes(wrong[: rng.randint(1, len(wrong))]))
            server.take(rng.randbytes(rng.randint(0, 80)))
            name = "".join(rng.choices("abcdefgnrstuxy", k=rng.randint(1, 9)))
            if name not in PAGE.commands:
                server.take(_osc(f"/rtstyle/{name}", rng.choice([1, 0.5, "x", b"\xff"])))
        assert controls.settings == before


class Noting(NullSink):
    """When each frame was written, and how bright it was."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[tuple[float, bool]] = []

    def write(self, frame: Frame) -> None:
        self.frames.append((time.perf_counter(), bool(frame.image.mean() > 60)))


def test_a_message_is_seen_within_two_frames_and_a_flood_is_survived(controls: Controls) -> None:
    sink, sent = Noting(), list[tuple[float, bool]]()
    with (
        EnginePool(EngineOptions(name="onnxruntime", threads=1)) as pool,
        OscServer("0", controls.do, on_note=lambda note: None) as server,
    ):
        messages = {True: _osc("/rtstyle/style", "bright"), False: _osc("/rtstyle/style", "dark")}

        def act(figures: object) -> None:
            if len(sink.frames) % 8 == 0:
                bright = not (sent[-1][1] if sent else True)
                sent.append((time.perf_counter(), bright))
                _send(server.port, messages[bright])
            _send(server.port, *[_osc("/rtstyle/strength", 1.0)] * 40)  # 2,000 a second

        report = Session(Ramp(200, rate=50), sink, controls, pool).run(act)
    waited = []  # frames until a message is seen, that one included
    for at, bright in sent[:-1]:
        later = [is_bright for time_, is_bright in sink.frames if time_ > at]
        waited.append(1 + later.index(bright))
    assert len(waited) > 8
    assert float(np.median(waited)) <= 2
    assert report.frames_out > 60


def test_midi_learns_and_moves(
    controls: Controls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(mido, "get_input_names", lambda: ["Launch 1"])
    monkeypatch.setattr(mido, "open_input", lambda name, **more: port)
    monkeypatch.setitem(__import__("sys").modules, "rtmidi", SimpleNamespace())
    notes: list[str] = []
    path = tmp_path / "config" / "midi.json"

    def turn(value: int, control: int = 7) -> Any:
        return mido.Message("control_change", channel=0, control=control, value=value)

    def press(note: int) -> Any:
        return mido.Message("note_on", channel=0, note=note, velocity=99)

    with MidiInput("launch", controls, on_note=notes.append, path=path) as midi:
        midi.take(turn(127))  # bound to nothing
        controls.do("learn strength")
        midi.take(turn(3))
        midi.take(turn(0))
        assert controls.settings.strength == 0
        controls.do("learn style 2")
        midi.take(press(36))
        midi.take(press(36))
        midi.take(mido.Message("note_off", channel=0, note=36))
        midi.take(mido.Message("pitchwheel", pitch=100))
        assert controls.settings.style.name == "dark"
        assert notes == ["cc 1 7 is strength from now on", "note 1 36 is style 2 from now on"]
        with pytest.raises(MediaError, match="no MIDI port 'x'; there is Launch 1"):
            MidiInput("x", controls, on_note=notes.append, path=path)
    with MidiInput("", controls, on_note=notes.append, path=path) as midi:
        midi.take(turn(127))
    assert controls.settings.strength == 1
    with pytest.raises(UsageError, match="not allowed here"):
        parse("learn strength", PAGE)
    with pytest.raises(UsageError, match="A command was expected after learn"):
        parse("learn dance")


def test_a_message_in_words() -> None:
    assert spoken("next", 1) == "next"
    assert spoken("next", 0) == ""
    assert spoken("color", 0.2) == "color off"
    assert spoken("scene", 3.0) == "scene 3"
    assert spoken("blend", -0.5) == "blend 0.000000"
    for wrong in (float("nan"), float("inf"), [], b"x"):
        with pytest.raises(UsageError):
            spoken("blend", wrong)


def test_a_wave_moves_a_knob_there_and_back(controls: Controls) -> None:
    controls.do("lfo strength 0.2 0.8 4")
    (wave,) = controls.settings.modulations
    meter = SoundMeter(None, lambda: 0.0)
    assert [round(wave.value(t, meter), 3) for t in (0, 1, 2, 4)] == [0.2, 0.5, 0.8, 0.2]
    controls.do("beat strength 0 1")
    controls.do("level blend 0 1")
    assert [m.source for m in controls.settings.modulations] == ["beat", "level"]
    controls.do("lfo strength off")
    assert [m.knob for m in controls.settings.modulations] == ["blend"]
    for wrong in ("lfo strength 0 1", "lfo stroke 0 1 4", "beat blend 0 2", "lfo blend 0 1 0",
                  "level", "lfo blend 0 nan 3", "beat blend 0 1 4"):  # fmt: skip
        with pytest.raises(UsageError, match="two numbers from 0 to 1"):
            controls.do(wrong)


def test_beats_are_heard_at_their_times() -> None:
    """Clicks twice a second over a hum."""
    ring, now = SoundRing(), [0.0]
    times = np.arange(8 * RATE) / RATE
    rng = np.random.default_rng(0)
    sound = 800 * np.sin(2 * np.pi * 110 * times)
    since = times % 0.5
    sound += 12_000 * np.exp(-since / 0.03) * rng.standard_normal(len(times)) * (since < 0.1)
    ring.put(0, np.stack([sound, sound], 1).astype(np.int16))
    meter = SoundMeter(ring, lambda: now[0])
    beat = Modulation("beat", "strength", 0.0, 1.0)
    heard = []
    for step in range(1, 200):
        now[0] = step / 25
        before = meter.beat(now[0])
        meter.listen()
        if beat.value(now[0], meter) > before + 0.2:
            heard.append(now[0])
    wanted = np.arange(1, 15) / 2
    found = [min(abs(t - w) for t in heard) < 0.08 for w in wanted]
    assert np.mean(found) > 0.9
    assert len(heard) <= 18
    assert 0 < meter.level <= 1


def test_a_wave_is_seen_in_the_pictures(controls: Controls) -> None:
    class Means(NullSink):
        means: list[float] = []  # noqa: RUF012

        def write(self, frame: Frame) -> None:
            self.means.append(float(frame.image.mean()))

    controls.do("style dark")
    controls.do("lfo strength 0 1 0.5")
    with EnginePool(EngineOptions(name="onnxruntime", threads=1)) as pool:
        Session(Ramp(60, rate=50), Means(), controls, pool).run()
    assert min(Means.means) < 20
    assert max(Means.means) > 110
    assert controls.settings.strength == 1.0  # the knob itself stays
