"""The page as files for any static host: it paints in the viewer's browser and asks nobody."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from rtstyle.errors import OutputError, OutputExistsError
from rtstyle.live.settings import Settings
from rtstyle.style.style import Style
from rtstyle.web.plan import Plan, gallery_message, settings_message

PAGE = ("index.html", "style.css", "icon.svg", "app.js", "camera.js", "controls.js", "engine.js",
        "local.js", "record.js", "server.js")  # fmt: skip
# What the page may do. It is part of the page, since a static host sends no header of ours.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_OURS = "sw.js"  # a folder that has one may be replaced


def page_file(name: str) -> bytes:
    """A file of the page as it is in the package."""
    return (resources.files("rtstyle.serve") / "page" / name).read_bytes()


def build_site(
    folder: Path,
    plan: Plan,
    styles: Sequence[Style],
    settings: Settings,
    *,
    thumbnail: Callable[[Style], bytes],
    overwrite: bool = False,
) -> dict[str, int]:
    """Write the site into `folder`, whole or not at all; return the bytes of each file.

    `thumbnail` paints a style's as a JPEG file. Raises `OutputExistsError` where something else
    lies in `folder`, or an earlier site without `overwrite`, and `OutputError`.
    """
    usable = [style for style in styles if style.model.path in plan.models]
    taken = folder.is_dir() and any(folder.iterdir())
    if folder.is_file() or (taken and not (overwrite and (folder / _OURS).is_file())):
        raise OutputExistsError(
            f"{folder} is not empty; name a new folder, or pass --overwrite to replace a site."
        )
    files: dict[str, bytes] = {}
    rows = gallery_message(usable, plan)
    for number, (style, row) in enumerate(zip(usable, rows["gallery"], strict=True)):
        row["thumbnail"] = (
            f"thumbnails/{number}-{re.sub(r'[^a-z0-9]+', '-', style.name.lower())}.jpg"
        )
        files[row["thumbnail"]] = thumbnail(style)
    about = {"mode": "camera", "controls": True, "uploads": False, "paint": "here",
             "here": plan.document}  # fmt: skip
    files["gallery.json"] = _json(about | rows | settings_message(settings))
    files |= {name: page_file(name) for name in PAGE}
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    page = files["index.html"].decode()
    page = page.replace("<html", "<html data-site", 1).replace("<head>", f"<head>\n{policy}", 1)
    files["index.html"] = page.encode()
    files["sw.js"] = _service_worker(files)
    for address, content in plan.files.items():
        files[address] = content if isinstance(content, bytes) else content.read_bytes()
    _write(folder, files)
    return {name: len(content) for name, content in files.items()}


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _service_worker(shell: Mapping[str, bytes]) -> bytes:
    """The service worker with the shell's files, and a version that changes with any of them."""
    digest = hashlib.sha256()
    for name in sorted(shell):
        digest.update(name.encode() + hashlib.sha256(shell[name]).digest())
    source = page_file("sw.js").decode()
    digest.update(source.encode())
    names = ["./", *sorted(name for name in shell if name != "index.html")]
    return (
        source.replace('"VERSION"', json.dumps(f"rtstyle-{digest.hexdigest()[:12]}"), 1)
        .replace('["SHELL"]', json.dumps(names), 1)
        .encode()
    )


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
            fresh, old = Path(place) / "site", Path(place) / "old"
            for name, content in files.items():
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                (fresh / name).write_bytes(content)
            if folder.exists():
                os.replace(folder, old)
            shutil.move(fresh, folder)
    except OSError as error:
        raise OutputError(
            f"The site cannot be written to {folder}: {error.strerror or error}."
        ) from error
