"""The pages: links, pictures, command lines, and the site and model cards made of them."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import typer

from benchmarks.__main__ import BENCHMARKS
from export import cards, site
from rtstyle.cli.main import app
from rtstyle.errors import OutputError
from rtstyle.style.parse import find_style

if TYPE_CHECKING:
    from click import Group

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    if path.name != "CHANGELOG.md"
)
COMMAND_LINE = re.compile(r"^(?:\.venv/bin/|\$ )?(rtstyle .*|python -m (?:benchmarks|export) .*)$")
STYLES_OF_USERS = (".onnx", ".jpg", ".png")


def command_lines(page: str) -> list[str]:
    """Every line of a code block, fenced or indented, and every command in a table, that starts one
    of our programs."""
    lines, fenced, found = (ROOT / page).read_text(encoding="utf-8").splitlines(), False, []
    for line in lines:
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            found += [
                m[1] for part in line.split(" && ") if (m := COMMAND_LINE.match(part.strip()))
            ]
        elif line.startswith("|"):
            found += re.findall(r"`(rtstyle [^`]* [^`]*)`", line)
    return found


LINES = [(page, line) for page in PAGES for line in command_lines(page)]


def test_there_are_pages_and_command_lines() -> None:
    assert len(PAGES) > 20
    assert sum(line.startswith("rtstyle ") for _, line in LINES) > 60


@pytest.mark.parametrize("page", PAGES)
def test_no_link_is_dead(page: str) -> None:
    assert not list(site.dead_links(page, (ROOT / page).read_text(encoding="utf-8")))


def test_a_dead_link_is_found() -> None:
    text = "[a](nowhere.md) [b](live.md#nothing) [c](live.md) [d](https://example.org) `[e](f.md)`"
    assert list(site.dead_links("docs/index.md", text)) == ["nowhere.md", "live.md#nothing"]


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_line_is_what_the_program_takes(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "python":
        names = set(BENCHMARKS) if words[2] == "benchmarks" else _exports()
        assert words[3] in names, f"{line} of {page}"
        return
    command = typer.main.get_command(app)
    if words[1].startswith("-"):  # what acts while it is read, as --install-completion does
        assert words[1] in {option for known in command.params for option in known.opts}
        return
    context, rest = command.make_context("rtstyle", _until_pipe(words[1:])), []
    while hasattr(command, "commands"):
        name, command, rest = cast("Group", command).resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, rest, parent=context)
    style = context.params.get("style")
    if isinstance(style, str) and not style.endswith(STYLES_OF_USERS):
        find_style(style)


def _until_pipe(words: list[str]) -> list[str]:
    ends = [n for n, word in enumerate(words) if word in ("|", "&", ">", "…")]
    return words[: min(ends, default=len(words))]


def _exports() -> set[str]:
    from export.__main__ import app as export_app

    return set(cast("Group", typer.main.get_command(export_app)).commands)


def test_the_model_cards_are_what_the_models_say() -> None:
    assert not cards.stale(cards.model_cards()), "run python -m export cards"


def test_every_command_and_name_has_its_place() -> None:
    text = site.commands_page()
    for name in ("rtstyle render", "rtstyle queue add", "rtstyle export int8", "rtstyle web build"):
        assert f" {name}\n" in text
    assert "`-s, --style" in text
    assert "### Pipeline\n" in site.api_page()


def test_the_site_builds_and_asks_nothing_of_others(tmp_path: Path) -> None:
    if find_spec("zensical") is None:
        pytest.skip("Zensical is not installed; the extra docs brings it")
    assert site.build_site(tmp_path / "site") >= len(PAGES)
    page = (tmp_path / "site" / "commands.html").read_text(encoding="utf-8")
    assert "rtstyle render" in page
    with pytest.raises(OutputError, match="not empty"):
        site.build_site(tmp_path / "site")


@pytest.mark.parametrize(
    "text",
    ['<script src="https://e.org/a.js">', "<link rel=x href=//e.org/a.css>", "url(http://e.org)"],
)
def test_what_is_loaded_from_elsewhere_is_found(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(f'<a href="https://e.org">fine</a> {text}')
    (found,) = site.loaded_elsewhere(tmp_path)
    assert "e.org" in found
