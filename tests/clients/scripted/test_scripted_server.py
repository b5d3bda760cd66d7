"""The scripted server keeps the protocol where the script lets it, and catches clients that do not."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.clients.scripted.inboxes import RefusedError
from tests.clients.scripted.script import (
    WRITTEN,
    Action,
    Close,
    Closing,
    Cut,
    Delay,
    Do,
    Fault,
    Framing,
    Refuse,
    Repeat,
    Say,
    Status,
    What,
    When,
)
from tests.clients.scripted.server import ScriptedServer
from tests.clients.scripted.session import page
from tests.support.device import Device
from tests.support.wire import Wire

Frame = dict[str, Any]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server
        await Wire.drop_unfinished()


def fill(server: ScriptedServer, count: int, user: str = "bob") -> list[str]:
    frames = [{"id": f"m{number}", "from": "alice", "body": number} for number in range(1, count + 1)]
    return [str(cursor) for cursor in server.deliver(user, *frames)]


def whatever_comes_is_handled(server: ScriptedServer) -> None:
    phone = server.installation("bob", "phone")
    phone.handled = lambda: phone.received


async def test_it_replays_keeps_the_window_and_goes_live(server: ScriptedServer) -> None:
    whatever_comes_is_handled(server)
    cursors = fill(server, 5)
    device = Device(server.url, "bob")
    await device.connect(window=2, attempt=1)
    assert [entry["cursor"] for entry in await device.receive(2)] == cursors[:2]
    await device.ack()
    assert [entry["cursor"] for entry in await device.receive(4)] == cursors[:4]
    await device.ack()
    await device.go_live()
    await device.ack()
    await server.until(lambda: str(server.inboxes.of("bob").stored("phone")) == cursors[-1], "the ack is stored")
    await device.close()
    assert server.breaches == []


async def test_it_accepts_once_and_refuses_in_order(server: ScriptedServer) -> None:
    server.play(Fault(When.BEFORE, What.SEND, Refuse("unavailable", times=2)))
    device = Device(server.url, "alice")
    await device.connect(attempt=1)
    assert (await device.send("a", "bob", 1))["code"] == "unavailable"
    assert (await device.send("b", "bob", 2))["code"] == "out_of_order"
    assert (await device.send("a", "bob", 1))["code"] == "unavailable"
    assert (await device.send("a", "bob", 1))["duplicate"] is False
    assert (await device.send("b", "bob", 2))["duplicate"] is False
    assert (await device.send("b", "bob", 2))["duplicate"] is True
    await device.close()
    assert [frame["id"] for frame in server.inboxes.of("bob").messages()] == ["a", "b"]
    assert server.script.left == []
    assert server.breaches == []


async def test_after_a_loss_positions_are_handed_out_again(server: ScriptedServer) -> None:
    whatever_comes_is_handled(server)
    cursors = fill(server, 3)
    device = Device(server.url, "bob")
    await device.connect(attempt=1)
    await device.receive(3)
    before = server.inboxes.ms
    await server.rewind("bob", 1)
    server.inboxes.ms = before - 2
    server.deliver("bob", {"id": "other", "from": "alice", "body": 0})
    log = await device.receive(6)
    assert log[3] == {"type": "gap", "after": cursors[2], "cursor": "0-0", "missing": None, "reason": "rewound"}
    assert [entry["id"] for entry in log[4:]] == ["m1", "other"]
    assert log[5]["cursor"] == cursors[1]
    await device.close()


async def test_lost_entries_are_told_as_one_gap(server: ScriptedServer) -> None:
    cursors = fill(server, 4)
    server.inboxes.of("bob").lose(server.inboxes.of("bob").entries[:3], "expired")
    device = Device(server.url, "bob")
    await device.connect(attempt=1)
    gap, message = await device.receive(2)
    assert (gap["missing"], gap["cursor"], message["cursor"]) == (3, cursors[2], cursors[3])
    await device.close()


ENDINGS: list[tuple[Action, int]] = [
    (Cut(), 1006),
    (Cut(rst=True), 1006),
    (Close(1012), 1012),
    (Close(4002), 4002),
    (Closing(7), 1012),
]


PLACES = [
    (when, action, code)
    for when in When
    for action, code in ENDINGS
    if when is not When.MID or isinstance(action, Cut)  # behind half a frame nothing can be said
]


@pytest.mark.parametrize(("when", "action", "code"), PLACES, ids=str)
async def test_a_connection_ends_where_the_script_says(
    server: ScriptedServer, when: When, action: Action, code: int
) -> None:
    fill(server, 3)
    server.play(Fault(when, What.ENTRY, action, 2))
    wire = await Wire.open(f"{server.url.replace('http', 'ws')}/v1/ws?user=bob")
    await wire.send({"type": "hello", "device": "phone", "attempt": 1})
    assert await wire.ended() == code
    whole = 2 if when is When.AFTER else 1
    assert len(wire.of("message")) == whole or action == Cut(rst=True)
    assert server.script.left == []


@pytest.mark.parametrize("what", WRITTEN)
async def test_each_thing_written_can_be_cut_in_its_middle(server: ScriptedServer, what: What) -> None:
    fill(server, 1)
    server.play(Fault(When.MID, what, Cut()))
    wire = await Wire.open(f"{server.url.replace('http', 'ws')}/v1/ws?user=bob")
    await wire.send({"type": "hello", "device": "phone", "attempt": 1})
    if what is What.ACCEPTED:
        await wire.next("live")
        await wire.send({"type": "send", "id": "a", "to": "carol", "body": 1})
    assert await wire.ended() == 1006
    kind = "message" if what is What.ENTRY else str(what)
    assert wire.of(kind) == []


async def test_a_handshake_can_be_refused_or_cut(server: ScriptedServer) -> None:
    seen: list[str] = []
    server.play(
        Fault(When.BEFORE, What.CONNECT, Status(503)),
        Fault(When.BEFORE, What.CONNECT, Cut()),
        Fault(When.BEFORE, What.CONNECT, Do(lambda: seen.append("here"))),
    )
    for _ in range(2):
        with pytest.raises(Exception, match=r"503|did not receive|connection"):
            await Wire.open(f"{server.url.replace('http', 'ws')}/v1/ws?user=bob")
    device = Device(server.url, "bob")
    await device.connect(attempt=1)
    assert seen == ["here"]
    await device.close()


async def test_frames_are_repeated_delayed_bundled_and_split(server: ScriptedServer) -> None:
    fill(server, 4)
    server.play(
        Fault(When.AFTER, What.ENTRY, Repeat(times=2, back=1)),
        Fault(When.BEFORE, What.ENTRY, Delay(0)),
        Fault(When.BEFORE, What.ENTRY, Framing(bundle=2)),
        Fault(When.BEFORE, What.ACCEPTED, Framing(fragment=7)),
        Fault(When.AFTER, What.ACCEPTED, Say(({"type": "sparkle", "x": 1},))),
    )
    wire = await Wire.open(f"{server.url.replace('http', 'ws')}/v1/ws?user=bob")
    await wire.send({"type": "hello", "device": "phone", "attempt": 1})
    await wire.next("live")
    assert [frame["id"] for frame in wire.of("message")] == ["m1", "m1", "m1", "m2", "m3", "m4"]
    assert 2 in wire.bundles
    await wire.send({"type": "send", "id": "a", "to": "carol", "body": 1})
    await wire.next("sparkle")
    assert server.script.left == []


async def test_more_unanswered_sends_than_allowed_are_caught(server: ScriptedServer) -> None:
    server.play(Fault(When.BEFORE, What.SEND, Delay(0.2)))
    device = Device(server.url, "alice")
    await device.connect(attempt=1)
    await device.say(*[{"type": "send", "id": f"a{n}", "to": "bob", "body": n} for n in range(65)])
    await server.until(lambda: server.breaches, "caught")
    assert "more than 64 unanswered" in server.breaches[0]
    await device.close()


HELLO: Frame = {"type": "hello", "device": "phone", "attempt": 5}
SEND: Frame = {"type": "send", "id": "a", "to": "carol", "body": 1}

EDIT: Frame = {"type": "edit", "id": "e", "target": "a", "to": "carol", "body": 2}
LIVE: Frame = {"type": "watch", "users": ["carol"]}

SINS: dict[str, tuple[list[Frame], str]] = {
    "no hello first": ([SEND], "hello first"),
    "hello twice": ([HELLO, HELLO], "hello first, and once"),
    "no attempt": ([{"type": "hello", "device": "phone"}], "attempt"),
    "unknown field": ([{**HELLO, "x": 1}], "not in the protocol"),
    "unknown type": ([HELLO, {"type": "sparkle"}], "does not have"),
    "a cursor nobody gave out": ([{**HELLO, "cursor": "5-9"}], "never given out"),
    "a cursor beyond what is handled": ([{**HELLO, "cursor": "FIRST"}], "beyond what is handled"),
    "an ack beyond what is handled": ([HELLO, {"type": "ack", "cursor": "FIRST"}], "before it is handled"),
    "an ack of what was not sent": ([HELLO, {"type": "ack", "cursor": "7-7"}], "not sent on this connection"),
    "another body": ([HELLO, SEND, {**SEND, "body": 2}], "another body"),
    "another recipient": ([HELLO, SEND, {**SEND, "to": "dora"}], "another recipient"),
    "skip for nothing": ([HELLO, SEND, {"type": "skip", "id": "a"}], "skips what did not fail"),
    "to nobody": ([HELLO, {"type": "send", "id": "a", "body": 1}], "not exactly one of"),
    "to a user and a group": ([HELLO, {**SEND, "group": "team"}], "not exactly one of"),
    "another target": ([HELLO, SEND, EDIT, {**EDIT, "target": "b"}], "another kind or target"),
    "an edit of another's": ([HELLO, {**EDIT, "target_from": "carol"}], "changes what another wrote"),
    "a large reaction": ([HELLO, {**EDIT, "type": "react", "body": "x" * 1025}], "too large for a reaction"),
    "reads what never came": ([HELLO, {"type": "read", "from": "alice", "upto": "m9"}], "reads what never came"),
    "reads less": (
        [HELLO, {"type": "read", "group": "g", "upto": 2}, {"type": "read", "group": "g", "upto": 1}],
        "reads less than before",
    ),
    "a large signal": ([HELLO, {"type": "signal", "to": "carol", "body": "x" * 1025}], "too large for a signal"),
    "watches too many": ([HELLO, {"type": "watch", "users": [f"u{n}" for n in range(201)]}], "watches too many"),
    "unwatches others": ([HELLO, LIVE, {"type": "unwatch", "users": ["dora"]}], "unwatches whom"),
    "history both ways": (
        [HELLO, {"type": "history", "ref": "r", "before": "1-1", "after": "1-1"}],
        "two that exclude each other",
    ),
}


@pytest.mark.parametrize("sin", SINS)
async def test_a_client_at_fault_is_caught(server: ScriptedServer, sin: str) -> None:
    [first] = fill(server, 1)
    frames, said = SINS[sin]
    wire = await Wire.open(f"{server.url.replace('http', 'ws')}/v1/ws?user=bob")
    server.gather("g", "bob", "alice")
    server.inboxes.tell_group("g", "renamed", "bob", "bob", name="G")
    for place, frame in enumerate(frames):
        await wire.send(frame | ({"cursor": first} if frame.get("cursor") == "FIRST" else {}))
        if frame is HELLO and place == 0 and len(frames) > 1:
            await wire.next("live")
        if frame is SEND and len(frames) > 1:
            await wire.next("accepted")
    assert await wire.ended() == 4500
    assert said in server.breaches[0]


async def test_a_signal_before_live_is_caught(server: ScriptedServer) -> None:
    server.play(Fault(When.BEFORE, What.LIVE, Delay(0.1)))
    wire = await Wire.open(f"{server.url.replace('http', 'ws')}/v1/ws?user=bob")
    await wire.send(HELLO, {"type": "signal", "to": "carol", "body": 1})
    assert await wire.ended() == 4500
    assert "a signal while not live" in server.breaches[0]


async def live(server: ScriptedServer, user: str) -> Wire:
    """Whatever it is handed counts as handled."""
    phone = server.installation(user, "phone")
    phone.handled = lambda: phone.received
    wire = await Wire.open(f"{server.url.replace('http', 'ws')}/v1/ws?user={user}")
    await wire.send(HELLO)
    await wire.next("live")
    return wire


async def test_a_group_numbers_what_its_members_say_and_refuses_others(server: ScriptedServer) -> None:
    server.gather("team", "alice", "bob")
    server.inboxes.refusing["bob"] = "inbox_full"
    wire = await live(server, "alice")
    send = {"type": "send", "id": "a", "group": "team", "body": 1}
    for duplicate in (False, True):
        await wire.send(send)
        answer = await wire.next("accepted")
        assert (answer["group"], answer["seq"], answer["members"], answer["refused"]) == ("team", 2, 2, 1)
        assert answer["duplicate"] is duplicate
    await wire.send({**send, "id": "b", "group": "other"})
    assert (await wire.next("error"))["code"] == "no_such_group"
    await wire.close()
    assert [entry.frame["seq"] for entry in server.inboxes.of("alice").entries] == [1, 2]
    assert [entry.frame["type"] for entry in server.inboxes.of("bob").entries] == ["group"]
    assert server.breaches == []


async def test_a_deleted_message_is_erased_and_told(server: ScriptedServer) -> None:
    server.send("alice", type="send", id="a", to="bob", body="oops")
    server.send("alice", type="delete", id="d", to="bob", target="a")
    erased, told = (entry.frame for entry in server.inboxes.of("bob").entries)
    assert (erased["type"], erased["id"], "body" in erased) == ("deleted", "a", False)
    assert (told["type"], told["target"], told["target_from"]) == ("delete", "a", "alice")
    assert server.inboxes.of("bob").messages()[0]["body"] == "oops"
    with pytest.raises(RefusedError, match="no_such_message"):
        server.send("alice", type="edit", id="e", to="bob", target="z", body=1)


async def test_a_read_is_answered_by_an_entry_once(server: ScriptedServer) -> None:
    wire = await live(server, "bob")
    fill(server, 2)
    for upto in ("m1", "m1", "m2"):
        await wire.send({"type": "read", "from": "alice", "upto": upto})
    for upto in ("m1", "m2"):
        entry = await wire.next("read")
        assert (entry["id"], entry["upto"], entry["from"]) == (f"read:{upto}", upto, "alice")
    await wire.close()
    assert server.breaches == []


async def test_signals_reach_who_is_online_and_presence_is_told(server: ScriptedServer) -> None:
    one, other = await live(server, "alice"), await live(server, "bob")
    await one.send({"type": "watch", "users": ["bob", "carol"]}, {"type": "signal", "to": "bob", "body": 1})
    assert [(await one.next("presence"))["status"] for _ in range(2)] == ["online", "offline"]
    signal = await other.next("signal")
    assert (signal["from"], signal["to"], signal["body"]) == ("alice", "bob", 1)
    assert server.inboxes.of("bob").entries == []
    for wire in (one, other):
        await wire.close()


async def test_history_goes_both_ways_and_by_conversation(server: ScriptedServer) -> None:
    cursors = fill(server, 3)
    server.deliver("bob", {"type": "receipt", "id": "r", "by": "alice"}, {"id": "x", "from": "carol", "body": 1})
    inbox = server.inboxes.of("bob")

    def ids(**asked: Any) -> list[str]:
        return [entry["id"] for entry in page(inbox, {"ref": "q", **asked})["entries"]]

    assert ids(limit=2) == ["x", "r"]
    assert ids(after=cursors[0], limit=3) == ["m2", "m3", "r"]
    assert ids(**{"with": "alice"}, before=cursors[2]) == ["m2", "m1"]
    assert ids(group="team") == []


async def test_an_attempt_that_is_not_raised_is_caught(server: ScriptedServer) -> None:
    device = Device(server.url, "dora")
    await device.connect(attempt=4)
    await device.close()
    with pytest.raises(Exception, match="4500"):
        await device.connect(attempt=4)
    assert "attempt not above 4" in server.breaches[-1]


async def test_coming_back_after_a_code_that_forbids_it_is_caught(server: ScriptedServer) -> None:
    server.play(Fault(When.AFTER, What.LIVE, Close(4509)))
    device = Device(server.url, "dora")
    await device.connect(attempt=1)
    assert await device.wire.ended() == 4509
    with pytest.raises(Exception, match="4500"):
        await device.connect(attempt=2)
    assert "comes again after 4509" in server.breaches[0]


async def test_a_cursor_below_what_is_handled_is_caught(server: ScriptedServer) -> None:
    fill(server, 3)
    logged = {("message", "alice", f"m{number}") for number in (1, 2, 3)}
    server.installation("bob", "phone").handled = lambda: logged
    with pytest.raises(Exception, match="4500"):
        await Device(server.url, "bob").connect(attempt=1)
    assert "below 3 that are handled" in server.breaches[0]


async def test_one_that_overtakes_another_is_caught(server: ScriptedServer) -> None:
    server.play(Fault(When.BEFORE, What.SEND, Refuse("unavailable")))
    device = Device(server.url, "alice")
    await device.connect(attempt=1)
    await device.send("a", "bob", 1)
    await device.send("b", "bob", 2)
    with pytest.raises(AssertionError):
        await device.send("b", "bob", 2)
    assert "b overtakes a" in server.breaches[0]
