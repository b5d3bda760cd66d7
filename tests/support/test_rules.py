"""The judge of one connection calls out every rule that a frame breaks, and lets a fair conversation pass."""

from typing import Any

import pytest

from tests.support.rules import Frame, RuleBrokenError, Rules

WELCOME: Frame = {
    "type": "welcome",
    "user": "bob",
    "device": "phone",
    "session": "s",
    "worker": "w",
    "cursor": "0-0",
    "head": "1003-3",
    "pending": 3,
    "window": 2,
    "limits": {},
    "server": "1",
    "ping_interval": 20,
}


def message(number: int, **more: Any) -> Frame:
    frame = {"type": "message", "cursor": f"{1000 + number}-{number}", "id": f"m{number}", "from": "alice"}
    return {**frame, "to": "bob", "body": {}, "ts": 1000 + number, **more}


def gap(after: str, upto: str, missing: int | None, reason: str = "trimmed") -> Frame:
    return {"type": "gap", "after": after, "cursor": upto, "missing": missing, "reason": reason}


def receipt(number: int, **more: Any) -> Frame:
    frame = {"type": "receipt", "cursor": f"{1000 + number}-{number}", "id": "delivered:m-1", "target": "m-1"}
    return {**frame, "kind": "delivered", "by": "alice", "ts": 1000 + number, **more}


def read(number: int, **more: Any) -> Frame:
    frame = {"type": "read", "cursor": f"{1000 + number}-{number}", "id": "read:m-1", "upto": "m-1", "ts": 5}
    return {**frame, "from": "alice", **more}


def of_group(number: int, seq: int, **more: Any) -> Frame:
    """A message to a group."""
    frame = message(number, group="team", seq=seq)
    del frame["to"]
    return frame | more


def event(number: int, seq: int, **more: Any) -> Frame:
    frame = {"type": "group", "cursor": f"{1000 + number}-{number}", "id": f"team:{seq}", "group": "team", "seq": seq}
    return {**frame, "event": "joined", "user": "bob", "by": "alice", "ts": 1000 + number, **more}


def live(cursor: str) -> Frame:
    return {"type": "live", "cursor": cursor}


def ack(cursor: str) -> Frame:
    return {"type": "ack", "cursor": cursor}


def accepted(message_id: str) -> Frame:
    recipients = [{"to": "bob", "cursor": "1-1"}]
    frame = {"type": "accepted", "id": message_id, "ts": 1, "duplicate": False, "durability": "fsynced"}
    return {**frame, "recipients": recipients}


def judge(*frames: Frame, size: int = 100) -> Rules:
    """Plays a conversation; acks and sends go to the service, all else comes from it."""
    rules = Rules("bob", "phone", window=2)
    for frame in (WELCOME, *frames):
        if frame["type"] in {"ack", "send", "ping"}:
            rules.sent(frame)
        else:
            rules.received(frame, size)
    return rules


def test_a_fair_conversation_passes() -> None:
    rules = judge(
        message(1, replay=True),
        message(2, replay=True),
        ack("1002-2"),
        message(3, replay=True),
        live("1003-3"),
        gap("1003-3", "1005-5", 2),
        ack("1005-5"),
        message(6),
        {"type": "send", "id": "x"},
        accepted("x"),
        {"type": "ping"},
        {"type": "pong"},
        {"type": "closing", "reason": "drain", "reconnect_after_ms": 10},
    )
    assert rules.most_in_flight == 2


def test_other_entries_stand_in_the_order_of_messages() -> None:
    in_a_group = {"from": None, "group": "team", "upto": 7, "id": "read:team:7"}
    of_group = {key: value for key, value in read(4, **in_a_group).items() if value is not None}
    judge(message(1), receipt(2), ack("1002-2"), read(3), of_group)


@pytest.mark.parametrize(
    ("rule", "frames"),
    (
        ("not beyond", (message(1), message(1))),
        ("a hole", (message(1), message(3))),
        ("a hole", (message(2),)),
        ("live twice", (live("0-0"), live("0-0"))),
        ("live, but", (message(1), live("1002-2"))),
        ("more than 2", (message(1), message(2), message(3))),
        ("does not begin", (message(1), gap("1002-2", "1003-3", 1))),
        ("number of entries", (message(1), gap("1001-1", "1003-3", 1))),
        ("goes back", (message(1), gap("1001-1", "1001-1", 0))),
        ("rewound", (gap("1003-3", "0-0", 3, "rewound"),)),
        ("unknown reason", (gap("0-0", "1001-1", 1, "lost"),)),
        ("nobody asked for", (accepted("x"),)),
        ("nobody asked for", ({"type": "pong"},)),
        ("welcome twice", (WELCOME,)),
        ("type", ({"type": "surprise"},)),
        ("missing", ({"type": "live"},)),
        ("not in the protocol", (message(1, extra=1),)),
        ("no cursor", (message(1, cursor="1001"),)),
        ("somebody else", (message(1, to="carol"),)),
        ("a hole", (receipt(2),)),
        ("more than 2", (receipt(1), read(2), receipt(3))),
        ("unknown kind", (receipt(1, kind="seen"),)),
        ("one's own", (receipt(1, by="bob"),)),
        ("derived", (receipt(1, id="delivered:m-2"),)),
        ("derived", (read(1, id="read:m-2"),)),
        ("from or group", (read(1, group="team"),)),
        ("upto", (read(1, upto=7),)),
    ),
)
def test_a_broken_rule_is_called_out(rule: str, frames: tuple[Frame, ...]) -> None:
    with pytest.raises(RuleBrokenError, match=rule):
        judge(*frames)


def test_a_groups_numbers_rise_and_may_leave_some_out() -> None:
    judge(event(1, 4), of_group(2, 6), ack("1002-2"), event(3, 7, event="left"), live("1003-3"))


@pytest.mark.parametrize(
    ("rule", "frames"),
    (
        ("number again", (of_group(1, 4), of_group(2, 4))),
        ("number again", (event(1, 5), of_group(2, 4))),
        ("to, or group", (of_group(1, 4, to="bob"),)),
        ("derived", (event(1, 4, id="team:5"),)),
        ("unknown event", (event(1, 4, event="exploded"),)),
        ("a name", (event(1, 4, name="joined with a name"),)),
        ("a hole", (of_group(1, 4), of_group(3, 5))),
    ),
)
def test_a_broken_rule_of_groups_is_called_out(rule: str, frames: tuple[Frame, ...]) -> None:
    with pytest.raises(RuleBrokenError, match=rule):
        judge(*frames)


def test_a_mebibyte_in_flight_is_the_most_but_one_entry_always_fits() -> None:
    judge(message(1), size=2_000_000)
    with pytest.raises(RuleBrokenError, match="bytes of unacked"):
        judge(message(1), message(2), size=600_000)


def test_nothing_may_come_before_welcome() -> None:
    with pytest.raises(RuleBrokenError, match="before welcome"):
        Rules("bob", "phone").received(message(1), 10)


def test_after_a_rewound_gap_cursors_go_on_from_where_it_says() -> None:
    judge(message(1), message(2), gap("1002-2", "0-0", None, "rewound"), {**message(1), "id": "other"})
