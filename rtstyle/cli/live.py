"""`rtstyle live`, `rtstyle serve` and `rtstyle devices`: painting while you watch."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from rtstyle.cli.options import (
    FastEngineChoice,
    Group,
    HwAccel,
    Overwrite,
    Quiet,
    Stroke,
    StyleName,
    Upscale,
)
from rtstyle.cli.scenes import AreaChoice, SceneChoice, Scenes
from rtstyle.cli.terminal import Terminal
from rtstyle.errors import UsageError, optional

if TYPE_CHECKING:
    from rtstyle.live.options import LiveOptions
    from rtstyle.live.settings import Settings
    from rtstyle.serve.auth import ServeOptions
    from rtstyle.style.style import Style

Strength = Annotated[float, Option("--strength", help="0 is the picture, 1 the painting.")]
Cycle = Annotated[
    float, Option("--cycle", min=0, max=3600, help="Go on to the next scene after these seconds.")
]
PreserveColor = Annotated[bool, Option("--preserve-color", help="Keep the picture's own colours.")]


def _live_options(
    height: Annotated[
        int | None,
        Option(min=1, help="Paint at this height (upright: width): larger strokes, faster."),
    ] = None,
    fps_target: Annotated[float | None, Option(min=1, help="Frames a second to hold.")] = None,
    adaptive: Annotated[
        bool, Option("--adaptive", help="Hold them by painting smaller when needed.")
    ] = False,
    max_latency: Annotated[
        float | None, Option(min=1, metavar="MS", help="Drop frames rather than lag behind.")
    ] = None,
    steady: Annotated[
        float,
        Option(
            metavar="0..1",
            help="Hold on to the last painting where nothing changes, against flicker; off by "
            "default, since beside a net in INT8 it costs more than a tenth of the frame rate.",
        ),
    ] = 0.0,
    stroke: Stroke = None,
    upscale: Upscale = 1,
) -> Any:
    from rtstyle.live.options import LiveOptions

    target = fps_target or (24.0 if adaptive else None)
    return LiveOptions(
        height=height,
        fps_target=target,
        adaptive=adaptive,
        max_latency_ms=max_latency,
        steady=steady,
        stroke=stroke,
        upscale=upscale,
    )


def _page(
    host: Annotated[
        str, Option(help="Address of the page; others than this machine need a key.")
    ] = "127.0.0.1",
    port: Annotated[int, Option(help="0 takes a free one.")] = 8765,
    key: Annotated[
        str | None, Option(help="Access key of the page; random when it needs one.")
    ] = None,
    tls_cert: Annotated[
        Path | None, Option(help="Certificate; browsers give cameras to https only.")
    ] = None,
    tls_key: Annotated[Path | None, Option(help="The certificate's private key.")] = None,
    self_signed: Annotated[
        bool, Option("--self-signed", help="Secure by a certificate made here; browsers warn once.")
    ] = False,
    max_viewers: Annotated[
        int, Option(help="So many are let in, then the page says it is full.")
    ] = 4,
) -> Any:
    return lambda **more: optional("rtstyle.serve.auth", "The page").ServeOptions(
        host=host, port=port, key=key, tls_cert=tls_cert, tls_key=tls_key, self_signed=self_signed,
        max_viewers=max_viewers, **more,
    )  # fmt: skip


LiveChoice = Annotated["LiveOptions", Group(_live_options)]
SmallLiveChoice = Annotated["LiveOptions", Group(_live_options, {"height": 360})]
OscPort = Annotated[
    str | None, Option(metavar="[HOST:]PORT", help="Take commands over OSC: /rtstyle/style udnie …")
]
MidiPort = Annotated[
    str | None,
    Option(
        metavar="PORT",
        help="Take commands from MIDI; `learn strength` in `live --control` binds the next knob.",
    ),
]
PageChoice = Annotated[Callable[..., "ServeOptions"], Group(_page)]  # made only where it is used


def live(
    source: Annotated[
        str | None,
        Argument(
            metavar="[SOURCE]",
            help="webcam:0, a camera's name, /dev/video0, rtsp:// or http:// stream, video file, "
            "screen:640x360+0+0, lavfi:testsrc2=size=640x360:rate=30.",
        ),
    ] = None,
    from_option: Annotated[str | None, Option("--from", help="Same as SOURCE.")] = None,
    to: Annotated[
        list[str] | None,
        Option(
            metavar="SINK",
            help="window, virtualcam, web, file.mp4, rtmp:// or rtsp:// address; several at once.",
        ),
    ] = None,
    style: StyleName = "starry_night",
    *,
    scenes: SceneChoice,
    areas: AreaChoice,
    cycle: Cycle = 0.0,
    strength: Strength = 1.0,
    preserve_color: PreserveColor = False,
    mirror: Annotated[bool, Option("--mirror", help="As in a mirror.")] = False,
    width: Annotated[int, Option("-W", "--camera-width", min=16)] = 1280,
    camera_height: Annotated[int, Option("-H", "--camera-height", min=16)] = 720,
    rate: Annotated[float, Option("-F", "--camera-fps", min=1)] = 30,
    camera_codec: Annotated[
        str, Option(help="What the camera sends: mjpeg, yuyv422, h264 …")
    ] = "mjpeg",
    options: LiveChoice,
    measure: Annotated[
        bool, Option("--measure", help="Draw bar codes and read them back: true latency.")
    ] = False,
    control: Annotated[
        bool, Option("--control", help="Take commands from stdin: style udnie, blend 0.5 …")
    ] = False,
    osc: OscPort = None,
    midi: MidiPort = None,
    hot_keys: Annotated[
        bool,
        Option("--hot-keys", help="Hear Ctrl+Alt and arrows, s, p, r whichever window is active."),
    ] = False,
    sound: Annotated[
        str,
        Option(
            metavar="WHICH",
            help="For recordings, files and servers: own (a clip's), none, microphone[:NAME].",
        ),
    ] = "own",
    folder: Annotated[Path, Option(help="Where snapshots and recordings go.")] = Path(),
    duration: Annotated[
        float | None, Option("--duration", "-t", min=0.1, help="End after these seconds.")
    ] = None,
    page: PageChoice,
    engine: FastEngineChoice,
    hwaccel: HwAccel = "none",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Paint a camera while you watch: in a window, as a virtual camera, in the browser.

    Keys: left and right change the style, 1-9 pick one, up and down the strength, h shows the rest.
    """
    from rtstyle.live.run import LiveJob, default_sinks, run_live, stdin_lines
    from rtstyle.media.devices.window import has_display
    from rtstyle.media.options import CameraMode

    if source and from_option:
        raise UsageError(f"SOURCE is given twice: as {source} and as {from_option}.")
    sinks = tuple(to) if to else default_sinks(has_display())
    gallery, settings = _beginning(style, strength, preserve_color, mirror, scenes, cycle)
    settings = replace(settings, areas=areas or settings.areas)
    job = LiveJob(
        settings=settings,
        gallery=tuple(gallery),
        scenes=scenes.all,
        source=source or from_option or "webcam:0",
        sinks=sinks,
        capture=CameraMode(
            width=width, height=camera_height, rate=rate, codec=_ffmpeg_codec(camera_codec)
        ),
        options=replace(options, measure=measure),
        engine=engine,
        hwaccel=hwaccel,
        sound=sound,
        seconds=duration,
        folder=folder,
        overwrite=overwrite,
        serve=page() if "web" in sinks else None,
        osc=osc,
        midi=midi,
        hot_keys=hot_keys,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # files are completed, viewers told
    outcome = run_live(
        job, commands=stdin_lines() if control else None, on_note=Terminal(quiet=quiet).note
    )
    if not quiet:
        typer.echo(str(outcome.report))
        if outcome.meter is not None:
            typer.echo(str(outcome.meter))
    if outcome.interrupted:
        raise KeyboardInterrupt


def serve(
    style: StyleName = "starry_night",
    strength: Strength = 1.0,
    preserve_color: PreserveColor = False,
    *,
    scenes: SceneChoice,
    areas: AreaChoice,
    cycle: Cycle = 0.0,
    options: SmallLiveChoice,
    page: PageChoice,
    paint: Annotated[
        str,
        Option(
            metavar="WHERE",
            help="server, here (in each visitor's browser; fetched by npm once), or auto: there "
            "where a browser has a GPU.",
        ),
    ] = "auto",
    osc: OscPort = None,
    midi: MidiPort = None,
    engine: FastEngineChoice,
    quiet: Quiet = False,
) -> None:
    """A page for any browser: choose a camera there and see it painted."""
    served = page(paint=paint, osc=osc, midi=midi)
    server = optional("rtstyle.serve.server", "The page")
    gallery, settings = _beginning(style, strength, preserve_color, False, scenes, cycle)
    settings = replace(settings, areas=areas or settings.areas)
    if not quiet and not served.is_local and served.scheme == "http":
        typer.echo(
            "note: browsers give their camera to https pages only; pass --self-signed, or "
            "--tls-cert and --tls-key",
            err=True,
        )
    server.serve(
        served,
        options,
        gallery,
        settings,
        scenes=scenes.all,
        engine=engine,
        on_ready=lambda url: _invite(url, show_code=not (quiet or served.is_local)),
        on_note=Terminal(quiet=quiet).note,
    )


def _invite(url: str, *, show_code: bool) -> None:
    """Print the address, and for other devices as a QR code."""
    typer.echo(f"Open {url}  (Ctrl-C ends it)")
    if show_code:
        optional("segno", "The QR code").make(url, micro=False).terminal(compact=True)


def devices() -> None:
    """List the cameras that are plugged in, with their modes."""
    from rich.console import Console
    from rich.markup import escape

    from rtstyle.media.devices.cameras import find_cameras

    console = Console(highlight=False)
    cameras = find_cameras()
    for number, camera in enumerate(cameras):
        console.print(f"[bold]webcam:{number}[/bold]  {escape(camera.name)}  {camera.address}")
        for mode in camera.modes:
            console.print(f"    {mode}")
    if not cameras:
        console.print(
            "No camera was found. A picture that needs none: "
            "rtstyle live lavfi:testsrc2=size=640x360:rate=30"
        )


def _beginning(
    style: str, strength: float, preserve_color: bool, mirror: bool, scenes: Scenes, cycle: float
) -> tuple[list[Style], Settings]:
    """The gallery, with every style asked for in it, and the settings to begin with."""
    from rtstyle.image import Look
    from rtstyle.live.settings import Settings, in_scene
    from rtstyle.style.parse import find_style
    from rtstyle.style.style import find_styles

    Look(strength=strength)  # checks it
    first = find_style(style)
    gallery = find_styles()
    for wanted in (first, *(scene.style for scene in scenes.all)):
        if wanted is not None and not any(
            s.name == wanted.name and s.model.path == wanted.model.path for s in gallery
        ):
            gallery.append(wanted)
    if cycle and not scenes.all:
        raise UsageError("--cycle goes from scene to scene; name their file with --scenes.")
    settings = Settings(
        style=first, strength=strength, preserve_color=preserve_color, mirror=mirror, cycle=cycle
    )
    if scenes.first is not None:
        settings = in_scene(settings, settings, scenes.first)
    return gallery, settings


def _ffmpeg_codec(name: str) -> str:
    """FFmpeg's name for what camera programs call MJPG or YUYV."""
    return {"mjpg": "mjpeg", "yuyv": "yuyv422", "uyvy": "uyvy422"}.get(name.lower(), name.lower())
