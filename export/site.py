"""The documentation as a site: the pages of docs/, those at the top of the repository, and two that
are made of the program itself, every command and the Python interface.

`python -m export site` needs the extra `docs`. Nothing is built from a page with a dead link, and a
built page asks nothing of another host.
"""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from tempfile import TemporaryDirectory
from typing import cast

import typer

import rtstyle
from rtstyle.cli.main import app
from rtstyle.errors import MissingExtraError, OutputError, install_line

ROOT = Path(__file__).parents[1]
TOP = {  # where pages from outside docs/ are on the site
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "NOTICE": "notice.md",
    "README.md": "index.md",
    "benchmarks/results/README.md": "machines.md",
}
_API_MARK = "<!-- api -->\n"
_LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]*)(#[^)\s]*)?(?=\))")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)"
    r"|(?:url\(|@import\s*)[\"']?((?:https?:)?//[^\"')\s]+)"
)


def build_site(output: Path) -> int:
    """Build into the folder `output`, which must be empty or not there; the number of pages.

    Raises `MissingExtraError` without Zensical, and `OutputError`.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError(f"{output} is not empty; name a new folder, or remove it.")
    with TemporaryDirectory() as folder:
        stage = Path(folder)
        write_pages(stage / "docs")
        shutil.copy(ROOT / "docs" / "zensical.toml", stage)
        command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
        done = subprocess.run(command, cwd=stage, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if "No module named zensical" in said:
            raise MissingExtraError(f"The site needs Zensical: {install_line('docs')}.")
        if done.returncode or re.search(r"\bwarning", said, re.IGNORECASE):
            raise OutputError(f"Zensical did not build the site: {said.strip()}")
        if asked := sorted(set(loaded_elsewhere(stage / "site"))):
            raise OutputError(f"The pages would load {', '.join(asked)}.")
        shutil.copytree(stage / "site", output, dirs_exist_ok=True)
    return len(list(output.rglob("*.html")))


def write_pages(folder: Path) -> None:
    """The Markdown of every page into `folder`. Raises `OutputError` for a dead link."""
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.json", "*.toml"))
    sources = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "docs").rglob("*.md")}
    sources |= {name: ROOT / name for name in TOP if name != "README.md"}
    for name, path in sources.items():
        text = path.read_text(encoding="utf-8")
        if name == "NOTICE":
            text = f"# Notice\n\n```text\n{text}```\n"
        if dead := list(dead_links(name, text)):
            raise OutputError(f"{name} has dead links: {', '.join(dead)}.")
        text = text.replace(_API_MARK, api_page())
        (folder / _place(name)).write_text(_moved(name, text), encoding="utf-8")
    (folder / "commands.md").write_text(commands_page(), encoding="utf-8")


def dead_links(name: str, text: str) -> Iterator[str]:
    """The links of the page `name` of the repository to files or headings that are not there."""
    for path, heading in _LINK.findall(_CODE.sub("", text)):
        target = normpath(PurePosixPath(name).parent / path) if path else name
        file = ROOT / target
        known = target == "docs/commands.md" or file.is_file()
        if not known or (heading and heading[1:] not in _headings(file)):
            yield path + heading


def loaded_elsewhere(site: Path) -> Iterator[str]:
    """What the pages and styles of a built site would load from another host."""
    for path in sorted((*site.rglob("*.html"), *site.rglob("*.css"))):
        for tag in _LOADED.finditer(path.read_text(encoding="utf-8")):
            yield f"{tag[1] or tag[2]} ({path.name})"


def commands_page() -> str:
    """Every command with its options, as its help has them."""
    command = typer.main.get_command(app)
    context = cast("typer.Context", command.make_context("rtstyle", ["doctor"]))
    parts = ["# Every command", "Written from the program's own help.", *_command(context, 2)]
    return "\n\n".join(parts) + "\n"


def api_page() -> str:
    """Every public name with its signature and docstring."""
    parts = ["## Every public name", "Written from the docstrings."]
    for name in sorted(set(rtstyle.__all__) - {"__version__"}):
        found = getattr(rtstyle, name)
        parts += [f"### {name}", *_documented(name, found)]
        for member, value in vars(found).items() if inspect.isclass(found) else ():
            value = getattr(value, "__func__", value)
            if not member.startswith("_") and callable(value) and value.__doc__:
                parts += [f"#### {name}.{member}", *_documented(member, value)]
    return "\n\n".join(parts) + "\n"


def _command(context: typer.Context, level: int) -> Iterator[str]:
    command = context.command
    yield f"{'#' * level} {context.command_path}"
    if command.help:
        yield re.sub(r"\[/?bold\]", "", inspect.cleandoc(command.help)).replace("\f", "")
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```"
    rows = [
        f"| {_cell(f'`{record[0]}`')} | {_cell(record[1])} |"
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context))
    ]
    if rows:
        yield "\n".join(["| option | |", "|---|---|", *rows])
    for name, child in getattr(command, "commands", {}).items():
        yield from _command(type(context)(child, info_name=name, parent=context), level + 1)


def _cell(text: str) -> str:
    words = " ".join(re.sub(r"\[/?(?:bold|dim)\]", "", text).split())
    return words.replace("|", "\\|").replace("<", "&lt;")


def _documented(name: str, value: object) -> Iterator[str]:
    try:
        signature = str(inspect.signature(cast("type", value)))
    except (TypeError, ValueError):
        signature = ""
    signature = re.sub(r"\brtstyle(?:\.\w+)+\.(?=\w+\b)|'", "", signature)
    yield f"```python\n{name}{signature}\n```"
    yield inspect.getdoc(value) or ""


def _place(name: str) -> str:
    """Where a file of the repository is in the folder of the pages."""
    return TOP.get(name) or name.removeprefix("docs/")


def _moved(name: str, text: str) -> str:
    """The page with its links as they are on the site."""
    here = PurePosixPath(_place(name)).parent

    def link(found: re.Match[str]) -> str:
        path, heading = found[1], found[2] or ""
        if not path:
            return heading
        target = normpath(PurePosixPath(name).parent / path)
        if target not in TOP and not target.startswith("docs/"):
            raise OutputError(f"{name} links to {target}, which is no page of the site.")
        return relpath(_place(target), here) + heading

    return _LINK.sub(link, text)


def _headings(file: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown readers make them."""
    text = re.sub(r"^```.*?^```$", "", file.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in found}
