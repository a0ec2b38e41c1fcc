"""What is not painted is copied bit for bit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition

from benchmarks.fidelity import compare
from rtstyle.errors import MediaError, UsageError
from rtstyle.media import ReadOptions, WriteOptions, open_sink, open_source
from rtstyle.media.video.source import FileSource
from tests.media.clips import Clip, make_clip

SILENT = Clip()
LONG_SOUND = Clip(audio_seconds=1.5)  # the pictures last 0.48 s


def _copy(
    path: Path,
    output: Path,
    reading: ReadOptions | None = None,
    writing: WriteOptions | None = None,
    stop_after: int | None = None,
) -> list[str]:
    with open_source(path, reading) as source, open_sink(output, source, writing) as sink:
        for frame in source.frames():
            if frame.index == stop_after:
                break
            sink.write(frame)
        sink.finish(complete=stop_after is None)
    return source.notes + sink.notes


def _packets(path: Path, kind: str = "audio") -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == kind]
        if not streams:
            return []
        return [
            (p.pts * p.time_base, bytes(p)) for p in container.demux(streams) if p.pts is not None
        ]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("clip", [SILENT, LONG_SOUND], ids=["silent", "long sound"])
def test_copies_are_exact(clip: Clip, suffix: str, tmp_path: Path) -> None:
    made = make_clip(tmp_path / f"a{suffix}", Clip(clip.times, audio_seconds=clip.audio_seconds))
    assert _copy(made, tmp_path / f"b{suffix}") == []
    found = compare(made, tmp_path / f"b{suffix}")
    assert found.is_exact, str(found)
    assert found.frames_in == 12
    assert found.streams_kept == (1 if clip.audio_seconds else 0)


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mp4", LONG_SOUND)
    _copy(made, tmp_path / "b.mp4", writing=WriteOptions(keep_audio=False))
    assert _packets(tmp_path / "b.mp4") == []


def test_a_cut_shifts_sound_with_the_pictures(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mp4", LONG_SOUND)
    cut = ReadOptions(start=Fraction(1, 5), duration=Fraction(1, 5))
    _copy(made, tmp_path / "b.mp4", cut)
    start, end = Fraction(1, 5), Fraction(2, 5)
    expected = [(t - start, data) for t, data in _packets(made) if start <= t < end]
    assert expected
    assert _packets(tmp_path / "b.mp4") == expected


def test_an_early_end_ends_the_sound(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mp4", LONG_SOUND)
    _copy(made, tmp_path / "b.mp4", stop_after=5)
    last = _packets(tmp_path / "b.mp4")[-1][0]
    assert Fraction(15, 100) < last < Fraction(1, 5)
    with FileSource(tmp_path / "b.mp4") as source:
        assert len(list(source.frames())) == 5


def test_sound_that_does_not_fit_is_encoded_anew_with_a_note(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mp4", LONG_SOUND)
    (note,) = _copy(made, tmp_path / "b.webm", writing=WriteOptions(preset="8"))
    # The clip's clock is finer than WebM's, yet its 25 frames a second are whole milliseconds.
    assert "re-encoded as libopus" in note
    packets = _packets(tmp_path / "b.webm")
    assert packets[-1][0] > Fraction(14, 10)


def test_sound_is_encoded_as_asked(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mp4", LONG_SOUND)
    assert _copy(made, tmp_path / "b.mp4", None, WriteOptions(audio_codec="libmp3lame")) == []
    with av.open(str(tmp_path / "b.mp4")) as copy:
        assert copy.streams.audio[0].codec_context.name.startswith("mp3")
    for codec in ("nonsense", "libx264"):
        with pytest.raises(UsageError, match=f"Sound cannot be encoded as '{codec}' into mp4"):
            _copy(made, tmp_path / "c.mp4", None, WriteOptions(audio_codec=codec))
    assert not (tmp_path / "c.mp4").exists()


def test_metadata_language_and_chapters_stay(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mp4", LONG_SOUND)
    tick = Fraction(1, 1000)
    chapters: list[dict[str, Any]] = [
        {"id": 1, "start": 0, "end": 200, "time_base": tick, "metadata": {"title": "one"}},
        {"id": 2, "start": 200, "end": 480, "time_base": tick, "metadata": {"title": "two"}},
    ]
    with av.open(str(made)) as source, av.open(str(tmp_path / "c.mp4"), "w") as output:
        kept = [output.add_stream_from_template(s, opaque=True) for s in source.streams]
        output.metadata["title"] = "A clip"
        output.set_chapters(chapters)
        for stream, template in zip(kept, source.streams, strict=True):
            stream.metadata.update(template.metadata)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = kept[packet.stream.index]
                output.mux(packet)
    assert _copy(tmp_path / "c.mp4", tmp_path / "b.mp4") == []
    with av.open(str(tmp_path / "b.mp4")) as copy, av.open(str(tmp_path / "c.mp4")) as original:
        assert copy.metadata["title"] == "A clip"
        assert copy.streams.audio[0].language == "deu"
        assert [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"])
            for c in copy.chapters()
        ] == [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"])
            for c in original.chapters()
        ]
        assert [s.type for s in copy.streams] == [s.type for s in original.streams]


def test_free_keys_of_phones_stay(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mp4")
    with (
        av.open(str(made)) as source,
        av.open(
            str(tmp_path / "c.mp4"), "w", container_options={"movflags": "use_metadata_tags"}
        ) as output,
    ):
        video = output.add_stream_from_template(source.streams.video[0])
        output.metadata["com.example.model"] = "A phone"
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = video
                output.mux(packet)
    _copy(tmp_path / "c.mp4", tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as copy:
        assert copy.metadata["com.example.model"] == "A phone"


def test_attachments_and_subtitles_stay_in_matroska(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mkv", Clip(range(0, 400, 40), Fraction(1, 1000)))
    with av.open(str(made)) as source, av.open(str(tmp_path / "c.mkv"), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        words = output.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        words.metadata["language"] = "fra"
        words.disposition = Disposition.forced
        output.add_attachment("a.txt", "text/plain", b"attached")
        for index in range(3):
            line = av.Packet(f"line {index}".encode())
            line.stream, line.time_base = words, Fraction(1, 1000)
            line.pts = line.dts = index * 100
            line.duration = 90
            output.mux(line)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = video
                output.mux(packet)
    assert _copy(tmp_path / "c.mkv", tmp_path / "b.mkv") == []
    assert _packets(tmp_path / "b.mkv", "subtitle") == _packets(tmp_path / "c.mkv", "subtitle")
    assert len(_packets(tmp_path / "b.mkv", "subtitle")) == 3
    with av.open(str(tmp_path / "b.mkv")) as copy:
        (attached,) = [s for s in copy.streams if s.type == "attachment"]
        assert (attached.name, attached.mimetype, attached.data) == (
            "a.txt",
            "text/plain",
            b"attached",
        )
        (subtitles,) = copy.streams.subtitles
        assert subtitles.language == "fra"
        assert subtitles.disposition & Disposition.forced
    notes = _copy(tmp_path / "c.mkv", tmp_path / "b.webm")
    assert [note for note in notes if "attachment" in note] == [
        "attachment stream 2 (a.txt) was left out: webm cannot hold it"
    ]


def test_text_subtitles_that_do_not_fit_are_encoded_anew_with_a_note(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mkv", Clip(range(0, 400, 40), Fraction(1, 1000)))
    with av.open(str(made)) as source, av.open(str(tmp_path / "c.mkv"), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        words = output.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        for index in range(3):
            line = av.Packet(f"line {index}".encode())
            line.stream, line.time_base = words, Fraction(1, 1000)
            line.pts = line.dts = 50 + index * 100
            line.duration = 90
            output.mux(line)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = video
                output.mux(packet)
    (note,) = _copy(tmp_path / "c.mkv", tmp_path / "b.mp4")
    assert "subtitle stream 1 (srt) was re-encoded as mov_text" in note
    (note,) = _copy(tmp_path / "b.mp4", tmp_path / "d.mkv")
    assert "(mov_text) was re-encoded as subrip" in note
    assert _packets(tmp_path / "d.mkv", "subtitle") == [
        (Fraction(50 + index * 100, 1000), f"line {index}".encode()) for index in range(3)
    ]
    (note,) = _copy(tmp_path / "c.mkv", tmp_path / "e.avi")
    assert "subtitle stream 1 (srt) was left out" in note


def test_the_painted_stream_is_not_the_cover(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.mp4")
    cover = make_clip(
        tmp_path / "cover.mp4",
        Clip((0,), codec="mjpeg", pixel_format="yuvj420p", width=200, height=200, options=()),
    )
    with (
        av.open(str(made)) as source,
        av.open(str(cover)) as picture,
        av.open(str(tmp_path / "c.mp4"), "w") as output,
    ):
        attached = output.add_stream_from_template(picture.streams.video[0], opaque=True)
        attached.disposition = Disposition.attached_pic
        video = output.add_stream_from_template(source.streams.video[0])
        for container, stream in ((picture, attached), (source, video)):
            for packet in container.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    output.mux(packet)
    with FileSource(tmp_path / "c.mp4") as source_:
        assert (source_.info.width, len(list(source_.frames()))) == (64, 12)
    assert _copy(tmp_path / "c.mp4", tmp_path / "b.mp4") == []
    found = compare(tmp_path / "c.mp4", tmp_path / "b.mp4")
    assert found.is_exact, str(found)
    assert found.streams_kept == 1


def test_a_file_with_a_cover_only_is_no_video(tmp_path: Path) -> None:
    cover = make_clip(
        tmp_path / "cover.mp4", Clip((0,), codec="mjpeg", pixel_format="yuvj420p", options=())
    )
    with av.open(str(cover)) as picture, av.open(str(tmp_path / "c.mp4"), "w") as output:
        attached = output.add_stream_from_template(picture.streams.video[0], opaque=True)
        attached.disposition = Disposition.attached_pic
        for packet in picture.demux():
            if packet.dts is not None:
                packet.stream = attached
                output.mux(packet)
    with pytest.raises(MediaError, match="cover picture"):
        FileSource(tmp_path / "c.mp4")
