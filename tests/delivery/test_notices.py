"""Notices: who has come or gone is told to the workers that watch; of what gathers the last word counts."""

import asyncio
from typing import Any

import pytest

from service.delivery import notices as module
from service.delivery.notices import Notices
from service.delivery.worker import Worker
from service.store.worker_stream import PRESENCE, Control
from service.telemetry import NOTICES_DROPPED, NOTICES_SENT
from tests.delivery.rig import ended, total, troubled, until


class Heard:
    """Who watches here."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, bool]] = []

    def notice(self, user: str, online: bool) -> None:
        self.notices.append((user, online))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def notices(worker: Worker, heard: Heard) -> Notices:
    """Another worker's, whose task is not running yet."""
    return Notices(worker, worker.streams, heard)


async def test_ones_own_hears_it_at_once(worker: Worker, notices: Notices, heard: Heard) -> None:
    notices.add("bob", True, [worker.id])
    notices.add("bob", False, [worker.id])
    assert heard.notices == [("bob", True), ("bob", False)]
    assert notices._waiting == {}


async def test_others_hear_it_together_and_the_last_word_counts(
    worker: Worker, other: Worker, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls: list[Control] = []
    real = other.on_control

    def heard(control: Control) -> None:
        controls.append(control)
        real(control)  # without its canaries it would look for its place again and again

    monkeypatch.setattr(other, "on_control", heard)
    sent = total(NOTICES_SENT)
    for user, online in (("bob", True), ("carol", False), ("bob", False)):
        notices.add(user, online, [other.id])
    task = asyncio.create_task(notices.run())
    await until(lambda: [one for one in controls if one.name == PRESENCE], "the control")
    assert [one.value for one in controls if one.name == PRESENCE] == ["bob/off carol/off"]
    assert total(NOTICES_SENT) - sent == 2
    await ended(task)


async def test_long_lists_go_in_parts(
    worker: Worker, other: Worker, notices: Notices, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", 2)
    controls: list[str] = []
    real = other.on_control

    def heed(control: Control) -> None:
        if control.name == PRESENCE:
            controls.append(control.value)
        real(control)

    monkeypatch.setattr(other, "on_control", heed)
    for number in range(5):
        notices.add(f"u{number}", True, [other.id])
    task = asyncio.create_task(notices.run())
    await until(lambda: len(controls) == 3, "three controls")
    for value in controls:
        notices.on_control(value)
    assert heard.notices == [(f"u{number}", True) for number in range(5)]
    await ended(task)


async def test_what_waits_is_bounded_and_what_is_lost_is_counted(
    worker: Worker, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    before = total(NOTICES_DROPPED)
    for user in ("bob", "carol", "dave", "bob"):
        notices.add(user, True, ["w-other"])
    assert total(NOTICES_DROPPED) - before == 1
    lost = troubled(worker.streams, "announce")
    lost.before = 1
    task = asyncio.create_task(notices.run())
    await until(lambda: total(NOTICES_DROPPED) - before == 3, "those that could not be told")
    assert not task.done()
    await ended(task)


async def test_what_one_worker_cannot_be_told_is_lost_and_the_others_are_told(
    other: Worker, notices: Notices, store: Any
) -> None:
    await store.set("chat:worker:{w-broken}", "not a stream")
    sent, lost = total(NOTICES_SENT), total(NOTICES_DROPPED)
    notices.add("bob", True, ["w-broken", other.id])
    notices.add("carol", True, ["w-broken"])
    task = asyncio.create_task(notices.run())
    await until(lambda: total(NOTICES_SENT) + total(NOTICES_DROPPED) - sent - lost >= 3, "three words")
    assert (total(NOTICES_SENT) - sent, total(NOTICES_DROPPED) - lost) == (1, 2)
    await ended(task)


async def test_a_control_that_is_not_understood_is_refused(notices: Notices, heard: Heard) -> None:
    for value in ("", "bob", "bob/maybe", "bob/on/off"):
        with pytest.raises(ValueError, match=r".*"):
            notices.on_control(value)
    assert heard.notices == []
