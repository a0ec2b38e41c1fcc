from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstyle.errors import RtstyleError, StyleNotFoundError, UsageError
from rtstyle.live.commands import COMMANDS, HOST, PAGE, WATCH, Change, Command, parse
from rtstyle.live.controls import Controls
from rtstyle.live.settings import Settings
from rtstyle.media.devices.window import KEYS
from rtstyle.style.style import Style


@pytest.fixture
def controls(gallery: list[Style]) -> Controls:
    return Controls(gallery, Settings(style=gallery[0]))


def _do(controls: Controls, *commands: str) -> Settings:
    for command in commands:
        controls.do(command)
    return controls.settings


def test_styles_are_walked_through_and_picked(controls: Controls) -> None:
    assert _do(controls, "next").style.name == "dark"
    assert _do(controls, "next", "next").style.name == "bright"
    assert _do(controls, "previous").style.name == "Tiny Waves"
    assert _do(controls, "style 2").style.name == "dark"
    assert _do(controls, "style Tiny Waves").style.name == "Tiny Waves"
    with pytest.raises(StyleNotFoundError, match="1 to 3"):
        controls.do("style 4")
    assert controls.settings.style.name == "Tiny Waves"


def test_blending_needs_one_model(controls: Controls) -> None:
    settings = _do(controls, "blend 0.25")
    assert settings.partner is not None
    assert settings.partner.name == "dark"
    assert settings.mixed.vector is not None
    assert settings.mixed.vector.tolist() == [[0.75, 0.25]]
    assert _do(controls, "blend +0.1").blend == 0.35
    with pytest.raises(UsageError, match="cannot be mixed"):
        controls.do("with Tiny Waves")
    alone = _do(controls, "style 3")
    assert (alone.partner, alone.blend, alone.mixed) == (None, 0.0, alone.style)
    with pytest.raises(UsageError, match="none mixes"):
        controls.do("blend 0.5")


def test_switches_and_shares(controls: Controls) -> None:
    assert _do(controls, "strength 0.4", "strength +0.1").strength == 0.5
    assert _do(controls, "strength -9").strength == 0
    assert _do(controls, "color").preserve_color
    assert not _do(controls, "color off", "color off").preserve_color
    assert _do(controls, "split").split == 0.5
    assert _do(controls, "split 0.3").split == 0.3
    assert _do(controls, "split").split is None
    assert _do(controls, "mirror on", "pause", "record", "snapshot", "snapshot").snapshots == 2
    assert _do(controls, "quit").quitting
    for wrong in ("strength much", "strength nan", "color maybe", "dance", "", "split x"):
        with pytest.raises(UsageError):
            controls.do(wrong)


def test_listeners_are_called_until_they_leave(controls: Controls) -> None:
    heard: list[str] = []

    def listen(settings: Settings) -> None:
        heard.append(settings.style.name)

    controls.listen(listen)
    _do(controls, "next")
    controls.forget(listen)
    controls.forget(listen)
    _do(controls, "next")
    assert heard == ["dark"]


def test_many_threads_lose_no_change(controls: Controls) -> None:
    threads = [
        threading.Thread(target=lambda: [controls.do("snapshot") for _ in range(200)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert controls.settings.snapshots == 1600


def test_commands_are_parsed_once_and_only_with_the_right() -> None:
    assert parse(" Style  Tiny Waves ", PAGE) == Command("style", "Tiny Waves")
    assert parse("blend +.25") == Command("blend", Change(0.25, relative=True))
    assert parse("split OFF") == Command("split", False)
    assert parse("split 0.3", PAGE) == Command("split", Change(0.3))
    assert parse("pause") == Command("pause", None)
    assert parse("style a.jpg", HOST).any_style
    assert HOST.commands - PAGE.commands == {"learn", "quit", "record", "snapshot", "stroke"}
    for name in COMMANDS:
        for rights in (PAGE, WATCH):
            if name not in rights.commands:
                with pytest.raises(UsageError, match="not allowed"):
                    parse(name.upper(), rights)
    for wrong in ("quit now", "next 1", "style", "blend", "blend 1e3", "blend ٣", "x" * 5000):
        with pytest.raises(UsageError) as caught:
            parse(wrong)
        assert len(str(caught.value)) < 200


def test_every_key_of_the_window_is_a_command() -> None:
    assert [parse(command).name in COMMANDS for command in KEYS.values()] == [True] * len(KEYS)


def test_a_page_chooses_from_the_gallery_alone(gallery: list[Style]) -> None:
    asked: list[str] = []

    def find(name: str) -> Style:
        asked.append(name)
        return gallery[1]

    controls = Controls(gallery, Settings(style=gallery[0]), find=find)
    for name in ("/etc/passwd", "DARK", "dark=1,x.jpg=1", "9" * 5000, "dark=-1", "dark=1e9"):
        with pytest.raises(UsageError):
            controls.do(parse(f"style {name}", PAGE))
    assert asked == []
    controls.do(parse("style bright=1,dark=3", PAGE))
    vector = controls.settings.mixed.vector
    assert vector is not None
    assert vector.tolist() == [[0.25, 0.75]]
    controls.do("style somewhere.jpg")  # the host may
    assert asked == ["somewhere.jpg"]


words = st.sampled_from([*COMMANDS, "foo"])
arguments = st.one_of(
    st.just(""), st.floats().map(str), st.integers(-9, 9).map(str), st.text(max_size=8),
    st.sampled_from(["on", "off", "bright", "dark", "Tiny Waves"]),
)  # fmt: skip


@given(st.lists(st.tuples(words, arguments), max_size=12))
def test_whatever_is_said_leaves_settings_that_can_be_painted(
    gallery: list[Style], commands: list[tuple[str, str]]
) -> None:
    def nothing(name: str) -> Style:
        raise StyleNotFoundError(f"There is no style {name!r}.")

    controls = Controls(gallery, Settings(style=gallery[0]), find=nothing)
    for word, argument in commands:
        before = controls.settings
        try:
            controls.do(f"{word} {argument}")
        except RtstyleError:
            assert controls.settings == before
        settings = controls.settings
        assert 0 <= settings.strength <= 1
        assert 0 <= settings.blend <= 1
        assert settings.split is None or 0 <= settings.split <= 1
        assert settings.mixed.model == settings.style.model
