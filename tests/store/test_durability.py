"""Durability: what replies name, what is waited for, and what stands in the way."""

from dataclasses import replace

import pytest

from service.store.durability import Level, ServerFacts, barred, clocks_apart, lacking, level, missing, replicas_asked
from service.store.link import Wait
from tests.store.test_preflight import GOOD

EVERYSEC = replace(GOOD, fsync="everysec")
OLD = replace(EVERYSEC, flavour="redis", version="7.0.15")


def judged(server: ServerFacts, durability: str, *, fails_over: bool = False) -> Level:
    return level([GOOD, server], durability, fails_over=fails_over, timeout=5.0)


@pytest.mark.parametrize(
    ("server", "durability", "told"),
    (
        (GOOD, "auto", "fsynced"),
        (GOOD, "appended", "appended"),
        (EVERYSEC, "auto", "appended"),
        (EVERYSEC, "appended", "appended"),
        (replace(GOOD, append_only=False), "auto", "appended"),
        (replace(GOOD, rewrite_without_fsync=True), "auto", "appended"),
        (replace(GOOD, readable=False, fsync=""), "auto", "appended"),
    ),
)
def test_without_waiting_replies_name_what_holds_and_never_more_than_was_asked_for(
    server: ServerFacts, durability: str, told: str
) -> None:
    assert judged(server, durability) == Level(told)


def test_where_another_server_may_take_over_one_disk_is_no_promise_unless_it_was_asked_for() -> None:
    assert judged(GOOD, "auto", fails_over=True) == Level("appended")
    assert judged(GOOD, "fsynced", fails_over=True).name == "fsynced"


@pytest.mark.parametrize("server", (GOOD, EVERYSEC))
def test_fsynced_waits_for_the_file_whatever_the_settings_say_now(server: ServerFacts) -> None:
    assert judged(server, "fsynced") == Level("fsynced", Wait(("WAITAOF", 1, 0, 4000), 1))


def test_where_the_file_cannot_be_waited_for_fsynced_goes_by_the_settings() -> None:
    assert judged(replace(OLD, fsync="always"), "fsynced") == Level("fsynced")


def test_clocks_are_as_far_apart_as_the_two_furthest() -> None:
    assert clocks_apart([replace(GOOD, clock_ms=ms) for ms in (1000, 11000, 900)]) == 10100
    assert clocks_apart([GOOD]) == 0


def test_replicated_waits_for_so_many_replicas() -> None:
    assert judged(GOOD, "replicated:2") == Level("replicated:2", Wait(("WAIT", 2, 4000), 2))


@pytest.mark.parametrize(
    ("flavour", "version", "there"),
    (
        ("valkey", "9.1.2", True),
        ("valkey", "8.0.0", True),
        ("valkey", "7.2.5", False),
        ("redis", "7.2.0", True),
        ("redis", "7.0.15", False),
        ("redis", "8.2.1", True),
    ),
)
def test_who_can_be_waited_for(flavour: str, version: str, there: bool) -> None:
    server = replace(EVERYSEC, flavour=flavour, version=version)
    assert server.waits_for_fsync is there
    assert bool(lacking([server], "fsynced")) is not there
    assert not replace(server, append_only=False).waits_for_fsync


def test_what_a_server_lacks_is_said_with_its_remedy_only_where_it_is_asked_for() -> None:
    [line] = lacking([GOOD, OLD], "fsynced")
    assert "appendfsync always" in line
    assert lacking([OLD], "auto") == lacking([OLD], "appended") == lacking([OLD], "replicated:1") == []
    assert lacking([replace(OLD, fsync="always")], "fsynced") == []


def test_replicas_that_are_away_are_missing_until_they_come_back() -> None:
    two, one = replace(GOOD, replicas=2), replace(GOOD, replicas=1)
    assert missing([two, two], "replicated:2") == []
    assert missing([two, one], "replicated:2") == ["replicated:2 was asked for, but 1 replicas are connected"]
    assert missing([one], "fsynced") == []


def test_appends_are_barred_only_where_no_server_can_take_them() -> None:
    two, none = replace(GOOD, replicas=2), GOOD
    assert barred([none, none], "replicated:1")
    assert not barred([two, none], "replicated:1"), "one shard of a Cluster is not all of it"
    assert not barred([two], "replicated:2")
    assert barred([two, OLD], "fsynced")
    assert not barred([none], "auto")


def test_the_number_is_read_off_the_level() -> None:
    assert [replicas_asked(level) for level in ("replicated:3", "fsynced", "auto")] == [3, 0, 0]


@pytest.mark.parametrize(
    ("wait", "reply", "reached"),
    (
        (Wait(("WAIT", 2, 100), 2), 2, True),
        (Wait(("WAIT", 2, 100), 2), 3, True),
        (Wait(("WAIT", 2, 100), 2), 1, False),
        (Wait(("WAITAOF", 1, 0, 100), 1), [1, 0], True),
        (Wait(("WAITAOF", 1, 0, 100), 1), [0, 0], False),
        (Wait(("WAITAOF", 1, 0, 100), 1), ValueError("not here"), False),
    ),
)
def test_a_wait_is_judged_by_its_answer(wait: Wait, reply: object, reached: bool) -> None:
    assert wait.reached(reply) is reached
