"""`rtstyle doctor`: what a bug report needs, what is missing here, and the line that mends it."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Annotated

import typer
from typer import Option

from rtstyle import __version__
from rtstyle.errors import install_line

# What each extra is for, and the modules by which it is there.
_EXTRAS = {
    "live": ("windows, virtual cameras and the page", ("pygame", "pyvirtualcam", "aiohttp")),
    "train": ("training, and files for other programs", ("torch", "onnx", "safetensors")),
    "control": ("OSC and MIDI", ("pythonosc", "mido", "rtmidi")),
    "heic": ("HEIC photographs", ("pillow_heif",)),
    "bench": ("plots of a benchmark", ("matplotlib", "scipy")),
    "cluster": ("render --cluster", ("ray",)),
}
_PACKAGES = (
    "numpy", "av", "opencv-python-headless", "openvino", "onnxruntime", "onnxruntime-gpu",
    "tensorrt", "tensorrt-rtx", "torch", "torch-tensorrt",
)  # fmt: skip
_ENCODERS = ("libx264", "libx265", "libsvtav1", "prores_ks", "ffv1", "h264_nvenc", "h264_qsv")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `mend` says what to do where something is missing."""

    subject: str
    found: str
    mend: str = ""


def doctor(
    as_json: Annotated[bool, Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what is here and what is missing, for a bug report. Exits with 1 when nothing paints."""
    findings, paints = examine()
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(f"{finding.subject:10} {finding.found}")
            if finding.mend:
                typer.echo(f"{'':10} → {finding.mend}")
    if not paints:
        raise typer.Exit(1)


def examine() -> tuple[list[Finding], bool]:
    """Every finding, and whether an engine works that can paint."""
    from rtstyle.bench.machine import this_machine
    from rtstyle.engines import automatic, available_engines
    from rtstyle.model.zoo import find_models
    from rtstyle.style.style import find_styles

    machine = this_machine()
    engines = available_engines()
    working = [f"{info.name} {info.version}" for info in engines if not info.problem]
    paints = any(not one.startswith("identity ") for one in working)
    findings = [
        Finding("rtstyle", f"{__version__}, Python {machine.python}"),
        Finding("machine", str(machine)),
        Finding("packages", ", ".join(installed_versions()), _two_runtimes()),
        Finding(
            "engines", ", ".join(working) or "none",
            "" if paints else "pip install openvino, or " + install_line("cpu"),
        ),
    ]  # fmt: skip
    absent = {info.name: info.problem for info in engines if info.problem}
    tried = automatic()
    findings += [Finding("", f"not {name}: {absent[name]}") for name in tried if name in absent]
    if others := [name for name in absent if name not in tried]:
        text = f"for other machines: {', '.join(others)}; rtstyle engines says why"
        findings.append(Finding("", text))
    findings += [
        Finding(
            f"[{extra}]", f"missing: {', '.join(missing)}, for {purpose}",
            install_line(extra),
        )
        for extra, (purpose, modules) in _EXTRAS.items()
        if (missing := [module for module in modules if find_spec(module) is None])
    ]  # fmt: skip
    models = find_models()
    findings += [
        Finding("styles", f"{len(find_styles())} in {len(models)} models", _no_models(len(models))),
        _cameras(),
        _codecs(),
        _cache(),
    ]
    return findings, paints


def installed_versions() -> list[str]:
    """The packages that decide what paints, as "openvino 2026.4.1"; none of them is loaded."""
    from importlib import metadata

    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def _two_runtimes() -> str:
    runtimes = [one for one in installed_versions() if one.startswith("onnxruntime")]
    if len(runtimes) < 2:
        return ""
    return (
        "onnxruntime and onnxruntime-gpu overwrite each other's files: pip uninstall both, "
        "then install the one that is wanted"
    )


def _no_models(count: int) -> str:
    return "" if count else "the package is not whole: pip install --force-reinstall rtstyle"


def _cameras() -> Finding:
    from rtstyle.media.devices.cameras import find_cameras

    names = [camera.name for camera in find_cameras()]
    return Finding("cameras", ", ".join(names) or "none is plugged in")


def _codecs() -> Finding:
    import av

    encoders = [name for name in _ENCODERS if name in av.codecs_available and _can_encode(name)]
    missing = [name for name in _ENCODERS[:2] if name not in encoders]
    mend = f"{', '.join(missing)} missing: pip install --force-reinstall av" if missing else ""
    return Finding(
        "encoders", f"compiled in: {', '.join(encoders)} (FFmpeg of PyAV {av.__version__})", mend
    )


def _can_encode(name: str) -> bool:
    import av

    try:
        av.Codec(name, "w")
    except ValueError:
        return False
    return True


def _cache() -> Finding:
    from rtstyle.files import atomic_write, cache_folder

    folder = cache_folder()
    try:
        with atomic_write(folder / "doctor", parents=True) as part:
            part.touch()
        (folder / "doctor").unlink()
    except OSError as error:
        return Finding(
            "cache", f"{folder} cannot be written: {error.strerror}",
            "set RTSTYLE_CACHE to a folder of yours",
        )  # fmt: skip
    free = shutil.disk_usage(folder).free / 1e9
    return Finding("cache", f"{folder}, {free:.0f} GB free")
