"""ONNX Runtime for browsers, pinned: fetched once from npm, checked, and kept compressed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

from rtstyle.errors import InputNotFoundError, MissingExtraError, OutputError, RtstyleError
from rtstyle.files import cache_folder

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
_SECONDS = 300.0
_CORE = "ort-wasm-simd-threaded"

# What paints how: the module, its glue, and the code, by the names that engine.js knows. "jspi" and
# "asyncify" paint by WebGPU; the first is smaller, the second runs where browsers lack JSPI.
BACKENDS = {
    "wasm": ("ort.wasm.min.mjs", f"{_CORE}.mjs", f"{_CORE}.wasm"),
    "jspi": ("ort.jspi.min.mjs", f"{_CORE}.jspi.mjs", f"{_CORE}.jspi.wasm"),
    "asyncify": ("ort.webgpu.min.mjs", f"{_CORE}.asyncify.mjs", f"{_CORE}.asyncify.wasm"),
}


def stored(name: str) -> str:
    """The name under which a file of the package is kept: code is compressed, as not every host
    does it; scripts have another suffix, since not every host knows that .mjs is one."""
    return f"{name}.gz" if name.endswith(".wasm") else name.replace(".mjs", ".js")


def kept_runtime() -> Path | None:
    """The folder of the runtime's files, None where it was not fetched yet."""
    folder = cache_folder() / f"{PACKAGE}-{VERSION}"
    return folder if folder.is_dir() else None


def fetch_runtime(archive: Path | None = None) -> Path:
    """The folder of the runtime's files; from `archive`, npm's .tgz, or by npm where it is missing.

    Raises `MissingExtraError` without npm, `InputNotFoundError` and `OutputError`.
    """
    if archive is None and (kept := kept_runtime()) is not None:
        return kept
    folder = cache_folder() / f"{PACKAGE}-{VERSION}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            work = Path(place)
            _unpack(archive or _packed(work), work / "files")
            if folder.is_dir():
                shutil.rmtree(folder)
            with suppress(FileExistsError):  # somebody else fetched it at the same time
                os.replace(work / "files", folder)
    except RtstyleError:  # some of which are an OSError too
        raise
    except OSError as error:
        raise OutputError(
            f"{PACKAGE} cannot be kept in {folder.parent}: {error.strerror or error}."
        ) from error
    return folder


def _packed(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise MissingExtraError(
            f"Painting in browsers needs the npm package {PACKAGE} {VERSION}, and npm is not "
            "installed; install Node.js, or fetch the package elsewhere and pass --runtime "
            f"{PACKAGE}-{VERSION}.tgz."
        )
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", str(folder)]
    try:
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise OutputError(f"npm did not fetch {PACKAGE} within {_SECONDS:g} seconds.") from None
    found = sorted(folder.glob("*.tgz"))
    if run.returncode or not found:
        lines = [line for line in run.stderr.splitlines() if line.strip()]
        raise OutputError(
            f"npm cannot fetch {PACKAGE} {VERSION}: {lines[0] if lines else 'it says not why'}"
        )
    return found[0]


def _unpack(archive: Path, folder: Path) -> None:
    try:
        content = archive.read_bytes()
    except OSError as error:
        raise InputNotFoundError(
            f"{archive} cannot be read: {error.strerror or error}; npm's package {PACKAGE} "
            f"{VERSION} was expected."
        ) from None
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if digest != _SHA512:
        raise InputNotFoundError(
            f"{archive} is not {PACKAGE} {VERSION} as it was published: its SHA-512 is another."
        )
    folder.mkdir()
    with tarfile.open(archive) as package:
        for name in sorted({name for names in BACKENDS.values() for name in names}):
            member = package.extractfile(f"package/dist/{name}")
            assert member is not None  # the digest fits
            data = member.read()
            if name.endswith(".wasm"):
                data = gzip.compress(data, 9, mtime=0)
            (folder / stored(name)).write_bytes(data)
