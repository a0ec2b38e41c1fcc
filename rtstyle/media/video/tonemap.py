"""High dynamic range to standard range, by a 3-D table that FFmpeg's `lut3d` filter applies, and
back, by the light that the table took away."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from av import VideoFrame
from av.filter import Graph
from numpy.typing import NDArray

from rtstyle.frame import Gain, Image

Array = NDArray[np.float64]

_TABLE_SIZE = 33  # points a side
_PEAK_NITS = 1000.0  # what HDR10 and HLG are graded for; brighter PQ highlights end at white
_WHITE_NITS = 203.0  # ITU-R BT.2408 reference white: white of the standard-range picture
_DISPLAY_GAMMA = 2.4  # ITU-R BT.1886
_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593])
_BT2020_TO_BT709 = np.array(  # ITU-R BT.2087
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
_BT709_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
_LEAST_NITS = np.float32(0.05)  # below it, ratios of light say nothing
_ROOTS = 1 << 16  # entries of a table over square roots of light, from none to the most
_HLG = 0.17883277, 0.28466892, 0.55991073  # a, b and c of ITU-R BT.2100


class ToneMapper:
    """Maps full-range `gbrp10le` BT.2020 frames of one size, PQ or HLG, to BT.709."""

    def __init__(self, width: int, height: int, *, hlg: bool) -> None:
        self._graph = Graph()
        source = self._graph.add(
            "buffer", f"video_size={width}x{height}:pix_fmt=gbrp10le:time_base=1/1"
        )
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "hdr.cube"
            _write_cube(table, sdr_table(hlg=hlg))
            path = str(table).replace("\\", "/").replace(":", "\\:").replace("'", "\\'")
            lut = self._graph.add("lut3d", f"file='{path}':interp=tetrahedral")
            sink = self._graph.add("buffersink")
            source.link_to(lut)
            lut.link_to(sink)
            self._graph.configure()  # reads the table

    def map(self, frame: VideoFrame) -> VideoFrame:
        """The frame tone-mapped, still `gbrp10le`."""
        frame.pts = None  # the graph has no use for time
        self._graph.push(frame)
        mapped = self._graph.pull()
        assert isinstance(mapped, VideoFrame)
        return mapped


def sdr_table(*, hlg: bool, size: int = _TABLE_SIZE) -> Array:
    """The table, (size, size, size, 3) indexed by coded R, G, B; values 0 to 1, BT.1886 coded.

    Light beyond the knee of ITU-R BT.2390's curve is rolled off on the largest component, which
    keeps hue; colours outside BT.709 are clipped, which keeps them saturated.
    """
    axis = np.linspace(0, 1, size)
    coded = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    nits = _hlg_to_nits(coded) if hlg else pq_to_nits(coded)
    largest = np.maximum(nits.max(-1, keepdims=True), 1e-6)
    light = nits * (roll_off(largest) / largest) / _WHITE_NITS @ _BT2020_TO_BT709.T
    return np.asarray(np.clip(light, 0, 1) ** (1 / _DISPLAY_GAMMA))


def pq_to_nits(coded: Array) -> Array:
    """SMPTE ST 2084, coded 0 to 1 to display light in cd/m2."""
    power = np.power(coded, 32 / 2523)
    root = np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)
    return np.asarray(10_000 * np.power(root, 16384 / 2610))


def nits_to_pq(nits: Array) -> Array:
    """The inverse of `pq_to_nits`."""
    power = np.power(nits / 10_000, 2610 / 16384)
    return np.power((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power), 2523 / 32)


def roll_off(nits: Array) -> Array:
    """ITU-R BT.2390 section 5.4: light up to the peak, squeezed under standard-range white."""
    peak = nits_to_pq(np.array(_PEAK_NITS))
    x = np.minimum(nits_to_pq(nits) / peak, 1)
    top = nits_to_pq(np.array(_WHITE_NITS)) / peak
    knee = 1.5 * top - 0.5
    t = (x - knee) / (1 - knee)
    hermite = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * top
    )
    return pq_to_nits(np.where(x < knee, x, hermite) * peak)


def _hlg_to_nits(coded: Array) -> Array:
    """ITU-R BT.2100: the inverse OETF, then the OOTF of a 1000 cd/m2 display."""
    scene = _hlg_to_scene(coded)
    luma = np.maximum(scene @ _BT2020_LUMA, 1e-9)[..., None]
    return np.asarray(_PEAK_NITS * luma**0.2 * scene)


def _hlg_to_scene(coded: Array) -> Array:
    a, b, c = _HLG
    return np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)


def _scene_to_hlg(scene: Array) -> Array:
    a, b, c = _HLG
    bright = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


class LightKeeper:
    """Puts the light of a high dynamic range picture, PQ or HLG, back into a stylized one.

    The ratio of light before and after tone mapping is kept for each pixel, and the stylized
    picture multiplied by it: unchanged, it has the original's luminance again.
    """

    def __init__(self, *, hlg: bool) -> None:
        self._hlg = hlg
        codes = np.linspace(0, 1, 1 << 10)
        light = _hlg_to_scene(codes) if hlg else pq_to_nits(codes)
        self._of_code = light.astype(np.float32)
        mapped = _WHITE_NITS * np.linspace(0, 1, 256) ** _DISPLAY_GAMMA
        self._of_level = mapped.astype(np.float32)
        roots = np.linspace(0, 1, _ROOTS) ** 2
        coded = _scene_to_hlg(roots) if hlg else nits_to_pq(roots * 10_000)
        self._to_code = np.round(65_535 * np.clip(coded, 0, 1)).astype(np.uint16)

    def gain(self, deep: VideoFrame, mapped: Image) -> Gain:
        """Of a full-range `gbrp10le` frame over what the tone mapper made of it."""
        light = self._of_code[deep.to_ndarray()] @ _BT2020_LUMA.astype(np.float32)
        if self._hlg:
            light = np.float32(_PEAK_NITS) * light ** np.float32(1.2)
        after = self._of_level[mapped] @ _BT709_LUMA
        return np.asarray((light + _LEAST_NITS) / (after + _LEAST_NITS), np.float32)

    def restore(self, image: Image, gain: Gain) -> NDArray[np.uint16]:
        """The (H, W, 3) picture in the original's range, as 16-bit codes of BT.2020 RGB."""
        light = self._of_level[image] @ np.linalg.inv(_BT2020_TO_BT709).T.astype(np.float32)
        light = (light + _LEAST_NITS) * gain[..., None] - _LEAST_NITS
        np.maximum(light, 0, out=light)
        if self._hlg:
            luma = np.maximum(light @ _BT2020_LUMA.astype(np.float32), 1e-6) / _PEAK_NITS
            light *= (luma ** (1 / 1.2 - 1) / _PEAK_NITS)[..., None].astype(np.float32)
        else:
            light *= np.float32(1e-4)
        np.minimum(light, 1, out=light)
        return self._to_code[(np.sqrt(light) * (_ROOTS - 1) + 0.5).astype(np.uint16)]


def _write_cube(path: Path, table: Array) -> None:
    # The .cube format lists the red axis fastest.
    rows = table.transpose(2, 1, 0, 3).reshape(-1, 3)
    with path.open("w") as file:
        file.write(f"LUT_3D_SIZE {len(table)}\n")
        np.savetxt(file, rows, fmt="%.6f")
