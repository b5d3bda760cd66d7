import asyncio
import io
import json
from typing import Any

import pytest

from scripts.lab.ports import free_port
from scripts.lab.timing import PATIENCE, eventually_async
from service.ops import tailing
from service.ops.show import Out
from service.ops.tailing import Tail, follow
from tests.ops.fake_service import WELCOME, Peer, message, playing


class Shown:
    """A tail and what it has shown."""

    def __init__(self, **options: Any) -> None:
        self.out, self.notes = io.StringIO(), io.StringIO()
        self.tail = Tail("bob", "tail", Out(self.out), Out(self.notes), **options)

    @property
    def texts(self) -> list[str]:
        return [line.split("\t")[-1] for line in self.out.getvalue().splitlines()]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(tailing, "LONGEST_WAIT", 0.05)


async def run(tail: Tail, url: str) -> bool:
    async with asyncio.timeout(PATIENCE):
        return await follow(tail, url)


async def replaced(peer: Peer) -> None:
    await peer.hear()
    await peer.socket.close(4509, "replaced")


async def test_entries_are_shown_in_order_and_acked_once_a_frame() -> None:
    async def scene(peer: Peer) -> None:
        assert await peer.hear() == {"type": "hello", "device": "tail"}
        await peer.say(WELCOME, message(1, "one"), message(2, "two", to=["bob", "carol"]))
        assert await peer.hear() == {"type": "ack", "cursor": "5-2"}
        await peer.say({"type": "live", "cursor": "5-2"})
        await peer.say(message(3, "three"))
        assert await peer.hear() == {"type": "ack", "cursor": "5-3"}
        await peer.socket.close(4510, "removed")

    shown = Shown()
    async with playing(scene) as (url, heard, users):
        assert await run(shown.tail, url) is False
    rows = [line.split("\t")[1:] for line in shown.out.getvalue().splitlines()]
    assert rows == [
        ["5-1", "alice", "bob", "one"],
        ["5-2", "alice", "bob,carol", "two"],
        ["5-3", "alice", "bob", "three"],
    ]
    assert len(heard) == 3
    assert users == ["bob"]
    notes = shown.notes.getvalue()
    assert "connected: bob/tail on w-1, session s-1; 2 after 0-0" in notes
    assert "live at 5-2" in notes
    assert "closed 4510 removed; not coming back" in notes


async def test_a_lost_connection_goes_on_after_the_last_shown_entry_and_shows_nothing_twice() -> None:
    async def first(peer: Peer) -> None:
        await peer.hear()
        await peer.say(WELCOME, message(1, "one"), message(2, "two"))
        await peer.hear()
        peer.socket.transport.abort()

    async def second(peer: Peer) -> None:
        assert await peer.hear() == {"type": "hello", "device": "tail", "cursor": "5-2", "attempt": 8}
        await peer.say(WELCOME, message(2, "two"), message(3, "three"))
        await peer.hear()

    shown = Shown(left=3, attempt=7)
    async with playing(first, second) as (url, _, _):
        assert await run(shown.tail, url) is True
    assert shown.texts == ["one", "two", "three"]
    assert "closed 1006; connecting again in" in shown.notes.getvalue()


async def test_the_service_says_how_long_to_wait() -> None:
    async def first(peer: Peer) -> None:
        await peer.hear()
        await peer.say(WELCOME, {"type": "closing", "reason": "restart", "reconnect_after_ms": 40})
        await peer.socket.close(1012)

    shown = Shown()
    async with playing(first, replaced) as (url, _, _):
        assert await run(shown.tail, url) is False
    assert "the service is about to close: restart" in shown.notes.getvalue()
    assert "closed 1012; connecting again in 0.0 s" in shown.notes.getvalue()


@pytest.mark.parametrize("code", (1011, 1012, 1013, 4000, 4001, 4499))
async def test_these_close_codes_mean_to_come_back(code: int) -> None:
    async def closing(peer: Peer) -> None:
        await peer.hear()
        await peer.socket.close(code)

    shown = Shown()
    async with playing(closing, replaced) as (url, _, users):
        assert await run(shown.tail, url) is False
    assert len(users) == 2


@pytest.mark.parametrize("code", (4500, 4501, 4503, 4509, 4510, 4999))
async def test_these_close_codes_mean_to_stay_away(code: int) -> None:
    async def closing(peer: Peer) -> None:
        await peer.hear()
        await peer.socket.close(code, "why")

    shown = Shown()
    async with playing(closing) as (url, _, users):
        assert await run(shown.tail, url) is False
    assert len(users) == 1
    assert f"closed {code} why; not coming back" in shown.notes.getvalue()


async def test_without_acks_nothing_is_acked_and_a_full_window_is_told() -> None:
    async def first(peer: Peer) -> None:
        assert await peer.hear() == {"type": "hello", "device": "tail", "cursor": "4-0"}
        await peer.say(WELCOME, *(message(n, f"t{n}") for n in (1, 2, 3)))
        peer.socket.transport.abort()

    async def second(peer: Peer) -> None:
        # A cursor in hello would ack.
        assert await peer.hear() == {"type": "hello", "device": "tail"}
        await peer.say(WELCOME, message(3, "t3"), message(4, "t4"))
        await peer.socket.wait_closed()

    shown = Shown(acking=False, cursor="4-0", left=4)
    async with playing(first, second) as (url, heard, _):
        assert await run(shown.tail, url) is True
    assert shown.texts == ["t1", "t2", "t3", "t4"]
    assert [frame["type"] for frame in heard] == ["hello", "hello"]
    assert "the window is full" in shown.notes.getvalue()


async def test_after_the_last_wanted_message_only_what_was_shown_is_acked() -> None:
    async def scene(peer: Peer) -> None:
        await peer.hear()
        await peer.say(WELCOME, message(1, "one"), message(2, "two"))
        await peer.hear()
        await peer.socket.wait_closed()

    shown = Shown(left=1)
    async with playing(scene) as (url, heard, _):
        assert await run(shown.tail, url) is True
    assert shown.texts == ["one"]
    assert heard[1:] == [{"type": "ack", "cursor": "5-1"}]


async def test_gaps_and_broadcasts_are_shown_in_their_places_and_gaps_are_acked() -> None:
    async def scene(peer: Peer) -> None:
        await peer.hear()
        gap = {"type": "gap", "after": "0-0", "cursor": "5-7", "missing": 7, "reason": "trimmed"}
        await peer.say(WELCOME, gap, {"type": "broadcast", "body": "down at six", "ts": 1})
        assert await peer.hear() == {"type": "ack", "cursor": "5-7"}
        rewound = {"type": "gap", "after": "5-7", "cursor": "5-2", "missing": None, "reason": "rewound"}
        await peer.say(rewound, {"type": "error", "code": "unknown_type", "message": "what?"})
        await replaced(peer)

    shown = Shown()
    async with playing(scene) as (url, _, _):
        await run(shown.tail, url)
    assert shown.texts == [
        "gap after 0-0: 7 entries up to 5-7 trimmed",
        'broadcast: "down at six"',
        "gap after 5-7: history rewound",
    ]
    assert "error unknown_type: what?" in shown.notes.getvalue()


async def test_json_is_every_frame_in_a_line_of_its_own_with_nothing_a_terminal_acts_on() -> None:
    nasty = message(1, "\x1b[2J\u2028\x9b")

    async def scene(peer: Peer) -> None:
        await peer.hear()
        await peer.say(WELCOME, nasty, {"type": "live", "cursor": "5-1"})
        await peer.hear()
        await peer.socket.close(4509)

    shown = Shown(as_json=True)
    async with playing(scene) as (url, _, _):
        await run(shown.tail, url)
    lines = shown.out.getvalue().split("\n")[:-1]
    assert [json.loads(line) for line in lines] == [WELCOME, nasty, {"type": "live", "cursor": "5-1"}]
    assert not {"\x1b", "\x9b", "\u2028"} & set(shown.out.getvalue())


async def test_text_reaches_the_terminal_without_control_characters() -> None:
    shown = Shown()
    frame = message(1, "a\x1b[31m\n[red]", **{"from": "al\x1bice"})
    shown.tail.take(json.dumps(WELCOME | {"worker": "\x1bw"}) + "\n" + json.dumps(frame))
    assert shown.texts == ["a\\u001b[31m\\n[red]"]
    assert "\x1b" not in shown.out.getvalue() + shown.notes.getvalue()


async def test_nobody_listening_is_said_and_tried_again() -> None:
    shown = Shown()
    url = f"ws://127.0.0.1:{free_port()}/v1/ws"
    task = asyncio.create_task(follow(shown.tail, url))

    async def tried_often() -> bool:
        return shown.notes.getvalue().count("cannot connect") >= 3

    await eventually_async(tried_often, "three tries")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "is the service running?" in shown.notes.getvalue()


async def test_a_refused_handshake_is_final_and_shows_the_reason() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"detail": "the origin is not allowed"}'
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    shown = Shown()
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await run(shown.tail, f"ws://127.0.0.1:{port}/v1/ws") is False
    assert "HTTP 403: the origin is not allowed; not coming back" in shown.notes.getvalue()


def test_what_is_remembered_to_drop_repeats_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "REMEMBERED", 2)
    shown = Shown()
    for seq in (1, 2, 3, 3, 1):
        shown.tail.take(json.dumps(message(seq, f"t{seq}")))
    assert shown.texts == ["t1", "t2", "t3", "t1"]
