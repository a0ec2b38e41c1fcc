from __future__ import annotations

from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtstyle.channel import Channel


def _in_thread(work: Any) -> Thread:
    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def _joined(thread: Thread) -> bool:
    thread.join(timeout=5)
    return not thread.is_alive()


@given(st.lists(st.integers()), st.integers(1, 4))
def test_everything_put_arrives_in_order(items: list[int], capacity: int) -> None:
    channel: Channel[int] = Channel(capacity)

    def produce() -> None:
        for item in items:
            channel.put(item)
        channel.close()

    thread = _in_thread(produce)
    assert list(channel) == items
    assert _joined(thread)


def test_the_newest_item_wins_and_the_dropped_are_counted() -> None:
    channel: Channel[int] = Channel(1, newest_wins=True)
    for item in range(10):
        assert channel.put(item)
    channel.close()
    assert list(channel) == [9]
    assert channel.dropped == 9


def test_the_producer_s_error_comes_after_what_it_had_put() -> None:
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.close(ValueError("broken"))
    items = iter(channel)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_a_waiting_producer_is_released_when_the_consumer_gives_up() -> None:
    channel: Channel[int] = Channel(1)
    answers: list[bool] = []
    channel.put(0)
    thread = _in_thread(lambda: answers.append(channel.put(1)))
    channel.cancel()
    assert _joined(thread)
    assert answers == [False]


def test_a_waiting_consumer_is_released_when_the_producer_ends() -> None:
    channel: Channel[int] = Channel(1)
    taken: list[list[int]] = []
    thread = _in_thread(lambda: taken.append(list(channel)))
    channel.close()
    assert _joined(thread)
    assert taken == [[]]


def test_nothing_is_taken_after_cancelling() -> None:
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.cancel()
    channel.close(ValueError("nobody wants to know"))
    assert list(channel) == []
