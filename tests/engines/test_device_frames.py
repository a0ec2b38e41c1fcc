"""Pictures that stay on the GPU, with this computer's memory in the GPU's place.

PyAV and torch hand each other NV12 the same way here as there: by DLPack.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Literal

import av
import numpy as np
import pytest
import torch

from rtstyle.engines import open_engine
from rtstyle.engines.base import Shapes
from rtstyle.engines.tensorrt_engine import TensorRtEngine
from rtstyle.engines.torch_engine import TorchCudaEngine
from rtstyle.engines.torch_nv12 import nv12_to_rgb, rgb_to_nv12
from rtstyle.engines.wrappers import MultiDeviceEngine, WarmupEngine
from rtstyle.errors import EngineError
from rtstyle.frame import DeviceFrame, DeviceImage, Frame, StreamInfo
from rtstyle.image import Look, finish, prepare
from rtstyle.media import WriteOptions, open_sink, open_source
from rtstyle.media.synthetic import NullSink, SyntheticSource
from rtstyle.media.video import source as file_source
from rtstyle.media.video.color import RgbReader, RgbWriter
from rtstyle.media.video.nvcodec import DeviceFrames, device_image, nv12_image
from rtstyle.media.video.sink import FileSink
from rtstyle.model.file import read_model
from rtstyle.model.spec import ModelSpec
from rtstyle.pipeline import Pipeline
from rtstyle.style.style import Style
from tests import graphs
from tests.engines.fake_gpu import install


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture without edges sharper than chroma can hold."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, height // 8, width // 8)))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return np.ascontiguousarray(fine[0].permute(1, 2, 0).clamp(0, 255).byte().numpy())


def on_gpu(image: np.ndarray) -> DeviceImage:
    """The picture as a decoder would leave it, in BT.709 of limited range."""
    frame = RgbWriter("nv12").write(image)
    picture = nv12_image(frame, lambda: RgbReader(frame.width, frame.height).read(frame))
    assert picture is not None
    return picture


@pytest.fixture
def tiny(tiny_checkpoint: Path) -> ModelSpec:
    return read_model(tiny_checkpoint)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "in.mp4"
    with SyntheticSource(160, 96, n_frames=6) as source, open_sink(path, source) as sink:
        for frame in source.frames():
            sink.write(frame)
        sink.finish()
    return path


@pytest.fixture
def decoded_on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a GPU had decoded: every frame of a file is NV12 in the GPU's memory."""

    def pretend(frame: av.VideoFrame, download: object) -> DeviceImage | None:
        nv12 = frame.reformat(format="nv12")
        return nv12_image(nv12, download)  # type: ignore[arg-type]

    monkeypatch.setattr(file_source, "device_image", pretend)


@pytest.mark.parametrize("full_range", [False, True])
def test_nv12_becomes_rgb_as_by_swscale(full_range: bool) -> None:
    frame = RgbWriter("nv12").write(smooth(64, 96))
    if full_range:
        frame = frame.reformat(format="nv12", src_color_range=1, dst_color_range=2)
        frame.color_range = 2
    luma, chroma = (torch.from_dlpack(plane.__dlpack__()) for plane in frame.planes)
    expected = RgbReader(96, 64).read(frame).astype(int)
    got = nv12_to_rgb(luma, chroma, 64, 96, 0.2126, 0.0722, full_range)[0].int().numpy()
    assert np.abs(got - expected).mean() < 0.1
    assert np.abs(got - expected).max() <= 2


def test_rgb_becomes_nv12_as_by_swscale() -> None:
    image = smooth(64, 96)
    frame = RgbWriter("nv12").write(image)
    expected = [torch.from_dlpack(plane.__dlpack__()).int() for plane in frame.planes]
    nv12 = rgb_to_nv12(torch.from_numpy(image)[None], None, torch.ones(()), 64, 96).int()
    assert nv12.shape == (96, 128), "rows begin at multiples of 64"
    nv12 = nv12[:, :96]
    assert (nv12[:64] - expected[0]).abs().float().mean() < 0.1
    assert (nv12[64:].reshape(32, 48, 2) - expected[1]).abs().float().mean() < 0.7
    assert (nv12[64:].reshape(32, 48, 2) - expected[1]).abs().max() <= 4


def test_only_plain_pictures_of_a_device_stay_there() -> None:
    def download() -> np.ndarray:
        raise AssertionError

    frame = RgbWriter("nv12").write(smooth(64, 96))
    assert device_image(frame, download) is None, "it lies in this computer's memory"
    assert nv12_image(frame, download) is not None
    for other in ("yuv420p", "p010le", "yuv444p"):
        assert nv12_image(frame.reformat(format=other), download) is None
    frame.color_trc = av.video.reformatter.ColorTrc.SMPTE2084
    assert nv12_image(frame, download) is None


@pytest.mark.parametrize("size", [(64, 96), (62, 90)])
def test_paints_as_from_this_computers_memory(tiny: ModelSpec, size: tuple[int, int]) -> None:
    """Also a size that the net's stride does not divide."""
    with TorchCudaEngine(tiny, gpu="cpu") as engine:
        images = [
            np.ascontiguousarray(smooth(64, 96, seed=i)[: size[0], : size[1]]) for i in range(4)
        ]
        pictures = [on_gpu(image) for image in images]
        assert engine.takes_device_image(pictures[0])
        pending = [engine.submit_device(picture) for picture in pictures]
        for picture, p in zip(pictures, pending, strict=True):
            painted = p.result()
            assert painted.shape == (*size, 3)
            look = Look()
            plain = picture.download()
            batch = prepare(plain, model=engine.model, look=look)
            expected = finish(engine.submit(batch).result(), plain, model=engine.model, look=look)
            encoded = RgbWriter("nv12").write(expected)  # as it would reach the encoder
            planes = ((painted.luma, 0.5), (painted.chroma, 6))  # an untrained net: noise in colour
            for (plane, limit), other in zip(planes, encoded.planes, strict=True):
                difference = plane.int() - torch.from_dlpack(other.__dlpack__()).int()
                assert difference.abs().float().mean() < limit, plane.shape
        none = engine.submit_device(pictures[0], None, 0.0).result()
        given = torch.from_dlpack(pictures[0].luma.__dlpack__())
        assert (none.luma.int() - given.int()).abs().float().mean() < 1, "the picture itself"


def test_styles_and_strength_reach_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By TensorRT, whose runner gets addresses; the style changes from picture to picture."""
    monkeypatch.setenv("RTSTYLE_CACHE", str(tmp_path / "cache"))
    trt = install(monkeypatch)
    spec = ModelSpec(Path("m"), "cin", 4, ("copy", "black"), style_size=2)
    model = read_model(graphs.dimming(tmp_path / "m.onnx", metadata={"rtstyle": spec.metadata()}))
    copy, black = (np.array([row], np.float32) for row in ([1, 0], [0, 1]))
    with TensorRtEngine(model) as engine:
        run = engine.runner({"frame": (1, 8, 12, 3), "style": (1, 2)})
        frame = torch.randint(0, 256, (1, 8, 12, 3), dtype=torch.uint8)
        out, stream = torch.zeros_like(frame), trt.cuda.do_StreamCreateWithFlags(1)
        for style, expected in ((copy, frame), (black, frame * 0), (copy, frame)):
            run({"frame": frame, "style": torch.from_numpy(style)}, out, stream)
            trt.cuda.do_StreamSynchronize(stream)
            assert torch.equal(out, expected)
        trt.cuda.do_StreamDestroy(stream)
        assert not engine.takes_device_image(on_gpu(smooth(64, 96))) or torch.cuda.is_available()


def test_from_file_to_file(
    clip: Path, decoded_on_gpu: None, tiny: ModelSpec, tmp_path: Path
) -> None:
    """Decoder, engine and encoder: no picture is downloaded, every time is kept."""
    output = tmp_path / "out.mp4"
    stayed = []

    class Counting(file_source.FileSource):
        def device_frames(self):  # type: ignore[no-untyped-def]
            for frame in super().device_frames():
                assert isinstance(frame, DeviceFrame)
                stayed.append(frame)
                yield frame

    style = Style("Tiny Waves", tiny)
    with (
        Counting(clip) as source,
        TorchCudaEngine(tiny, gpu="cpu") as engine,
        FileSink(output, source.info, options=WriteOptions()) as sink,
    ):
        Pipeline(source, engine, sink, style=style).run()
        sink.finish()
    with open_source(output) as painted:
        times = [frame.time for frame in painted.frames()]
    assert times == [Fraction(i, 30) for i in range(6)]
    assert len(stayed) == 6


@pytest.mark.parametrize("why", ["engine", "look", "sink"])
def test_what_cannot_stay_comes_down(
    why: str, clip: Path, decoded_on_gpu: None, tiny: ModelSpec, tiny_model: ModelSpec
) -> None:
    seen: list[Frame] = []

    class Keeping(NullSink):
        def write(self, frame: Frame) -> None:
            seen.append(frame)

    class KeepingBoth(Keeping):
        takes_device_frames: Literal[True] = True

    sink = Keeping() if why == "sink" else KeepingBoth()
    look = Look(height=48) if why == "look" else Look()
    engine = (
        open_engine("identity", tiny_model) if why == "engine" else TorchCudaEngine(tiny, gpu="cpu")
    )
    with open_source(clip) as source:
        assert all(isinstance(f.image, np.ndarray) for f in source.frames()), "nobody asked for it"
    with open_source(clip) as source, engine, sink:
        Pipeline(source, engine, sink, style=Style("t", tiny), look=look).run()
    assert len(seen) == 6
    assert all(isinstance(frame.image, np.ndarray) for frame in seen)


class Built(TorchCudaEngine):
    """Has to be built for a size first, which the test lets it."""

    def __init__(self, model: ModelSpec) -> None:
        super().__init__(model, gpu="cpu")
        self.go, self.ready = Event(), set[str]()

    def is_ready(self, shapes: Shapes) -> bool:
        return repr(shapes) in self.ready

    def build(self, shapes: Shapes) -> None:
        self.go.wait(10)
        self.ready.add(repr(shapes))


def test_auto_leaves_frames_on_the_gpu_once_it_has_moved_up(
    clip: Path, decoded_on_gpu: None, tiny: ModelSpec, tiny_model: ModelSpec
) -> None:
    """As `auto` does with an engine for the CPU and TensorRT: the wrapper loses no ability."""
    seen: list[Frame | DeviceFrame] = []

    class Keeping(NullSink):
        takes_device_frames: Literal[True] = True

        def write(self, frame: Frame | DeviceFrame) -> None:
            seen.append(frame)

    better = Built(tiny)
    with WarmupEngine(open_engine("identity", tiny_model), better) as engine:
        for kind in (Frame, DeviceFrame):
            seen.clear()
            with open_source(clip) as source, Keeping() as sink:
                Pipeline(source, engine, sink, style=Style("t", tiny)).run()
            assert [type(frame) for frame in seen] == [kind] * 6
            better.go.set()
            engine.wait_until_built()
        assert engine.name == "torch-cuda"


def test_several_gpus_take_the_frames_that_lie_on_one_of_them(tiny: ModelSpec) -> None:
    class On(TorchCudaEngine):
        def __init__(self, gpu: int) -> None:
            super().__init__(tiny, gpu="cpu")
            self.number, self.frames = gpu, 0

        def takes_device_image(self, image: DeviceImage) -> bool:
            return image.device == self.number

        def submit_device(self, image, style=None, strength=1.0):  # type: ignore[no-untyped-def]
            self.frames += 1
            return super().submit_device(image, style, strength)

    picture = on_gpu(smooth(64, 96))
    first, second = On(0), On(1)
    with MultiDeviceEngine([first, second]) as engine:
        for device in (1, 1, 0):
            image = replace(picture, device=device)
            assert engine.takes_device_image(image)
            assert engine.submit_device(image).result().device == device
        assert (first.frames, second.frames) == (1, 2)
        elsewhere = replace(picture, device=2)
        assert not engine.takes_device_image(elsewhere)
    with (
        open_engine("identity", tiny) as engine,
        pytest.raises(EngineError, match="identity takes no frames in the memory of a GPU"),
    ):
        engine.submit_device(picture)


def test_frames_for_an_encoder_share_the_pictures_memory() -> None:
    picture = on_gpu(smooth(64, 96))
    frame = DeviceFrames().frame(picture)
    assert (frame.format.name, frame.width, frame.height) == ("nv12", 96, 64)
    assert frame.planes[0].buffer_ptr == torch.from_dlpack(picture.luma.__dlpack__()).data_ptr()


def test_a_failure_where_the_picture_lies_is_a_sentence(
    tiny: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TorchCudaEngine(tiny, gpu="cpu") as engine:

        def fail(*arguments: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore")

        monkeypatch.setattr(engine, "runner", lambda shapes: fail)
        with pytest.raises(EngineError, match=r"96×64 where it lies: CUDA out.*--height") as caught:
            engine.submit_device(on_gpu(smooth(64, 96)))
        assert "\n" not in str(caught.value)


def test_info_of_a_stream_is_enough_for_the_sink(tmp_path: Path) -> None:
    """A picture on a GPU goes into a format that is no 4:2:0 by way of this computer."""
    info = StreamInfo(96, 64, Fraction(25), Fraction(1, 25))
    options = WriteOptions(codec="ffv1")
    with FileSink(tmp_path / "o.mkv", info, options=options) as sink:
        image = smooth(64, 96)
        sink.write(DeviceFrame(on_gpu(image), Fraction(0), 0))
        sink.finish()
    with open_source(tmp_path / "o.mkv") as source:
        (frame,) = source.frames()
    assert np.abs(frame.image.astype(int) - on_gpu(image).download()).max() <= 1
