"""Knobs that move by themselves: by a slow wave, by the level of the sound, or by its beat."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rtstyle.media.devices.sound import RATE, SoundRing

SOURCES = ("lfo", "level", "beat")
_HOP, _WINDOW = 512, 1024  # samples
_MEMORY = 2.0  # seconds that the loudest sound and the usual onset are known for
_APART = 0.18  # seconds between two beats, at least
_FALL = 0.25  # seconds in which a beat fades to 1/e
_ONSET = 2.0  # times the usual onset strength is a beat


@dataclass(frozen=True, slots=True)
class Modulation:
    """Moves `knob` between `low` and `high`; an LFO is there and back in `seconds`."""

    source: str
    knob: str
    low: float
    high: float
    seconds: float = 1.0

    def value(self, time: float, sound: SoundMeter) -> float:
        """The knob at that time in seconds."""
        if self.source == "lfo":
            share = 0.5 - 0.5 * math.cos(2 * math.pi * time / self.seconds)
        else:
            share = sound.level if self.source == "level" else sound.beat(time)
        return self.low + share * (self.high - self.low)


class SoundMeter:
    """The level of the sound, 0 to 1 of the loudest a while ago, and its beat: 1 at an onset, then
    falling. Without a ring both stay 0.

    Onset strength is the half-wave rectified spectral flux (Dixon 2006, "Onset Detection
    Revisited"). Used by one thread.
    """

    def __init__(self, ring: SoundRing | None, clock: Callable[[], float]) -> None:
        self.level = 0.0
        self._ring, self._clock = ring, clock
        self._at = round(clock() * RATE)
        self._beat_at = -math.inf
        n_kept = round(_MEMORY * RATE / _HOP)
        self._loudness: deque[float] = deque(maxlen=n_kept)
        self._onsets: deque[float] = deque(maxlen=n_kept)
        self._spectrum = np.zeros(_WINDOW // 2 + 1)
        self._window = np.hanning(_WINDOW)

    def listen(self) -> None:
        """Take in what has been heard since the last time."""
        if self._ring is None:
            return
        end = min(self._ring.end, round(self._clock() * RATE))
        self._at = max(self._at, end - RATE)
        while self._at + _HOP <= end:
            self._at += _HOP
            samples = self._ring.get(self._at - _WINDOW, self._at).mean(1) / 32_768
            self._hop(samples, self._at / RATE)

    def beat(self, time: float) -> float:
        """How much there is of the last beat, 0 to 1."""
        return math.exp(-max(0.0, time - self._beat_at) / _FALL)

    def _hop(self, samples: np.typing.NDArray[np.float64], time: float) -> None:
        loud = float(np.sqrt(np.square(samples[-_HOP:]).mean()))
        self._loudness.append(loud)
        self.level += 0.3 * (loud / max(*self._loudness, 1e-3) - self.level)
        spectrum = np.log1p(100 * np.abs(np.fft.rfft(samples * self._window)))
        onset = float(np.maximum(spectrum - self._spectrum, 0).mean())
        self._spectrum = spectrum
        usual = float(np.mean(self._onsets)) if self._onsets else 0.0
        self._onsets.append(onset)
        if onset > max(_ONSET * usual, 0.02) and time - self._beat_at > _APART:
            self._beat_at = time


def moved(modulations: Sequence[Modulation], time: float, sound: SoundMeter) -> dict[str, float]:
    """The knobs that are moved, by name."""
    if modulations:
        sound.listen()
    return {m.knob: round(m.value(time, sound), 4) for m in modulations}
