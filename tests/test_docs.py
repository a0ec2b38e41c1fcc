"""The pages: links, pictures, and the site and model cards made of them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from export import cards, site
from rtstyle.errors import OutputError

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    if path.name != "CHANGELOG.md"
)


def test_there_are_pages() -> None:
    assert len(PAGES) > 20


@pytest.mark.parametrize("page", PAGES)
def test_no_link_is_dead(page: str) -> None:
    assert not list(site.dead_links(page, (ROOT / page).read_text(encoding="utf-8")))


def test_a_dead_link_is_found() -> None:
    text = "[a](nowhere.md) [b](live.md#nothing) [c](live.md) [d](https://example.org) `[e](f.md)`"
    assert list(site.dead_links("docs/index.md", text)) == ["nowhere.md", "live.md#nothing"]


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
