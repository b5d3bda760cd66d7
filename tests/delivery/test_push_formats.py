"""What a receiver is told, and what of its answer counts."""

import json

import pytest

from service.core.cursor import Cursor
from service.core.push import Counted, Newest
from service.delivery.push_formats import MatrixFormat, WebhookFormat, rejected_in
from service.store.pushers import Pusher

NOW = 1_795_350_000_123
WAITS = Counted(2, Newest("alice", "team", Cursor(2, 2)))


async def test_a_webhook_names_user_count_and_newest_and_the_time_as_the_standard_has_it() -> None:
    told = json.loads(WebhookFormat().body("bob", {}, WAITS, "push_1", NOW))
    assert await WebhookFormat().recipients("bob") is not None
    newest = {"from": "alice", "group": "team", "cursor": "2-2", "ts": 2}
    assert told == {
        "type": "inbox.pending",
        "timestamp": "2026-11-22T12:20:00.123Z",
        "data": {"user": "bob", "pending": 2, "newest": newest},
    }
    assert await WebhookFormat().accepted("bob", {}, b"whatever")


class Registered:
    """Pushers of a user, without a store."""

    def __init__(self, **pushers: Pusher) -> None:
        self.pushers = pushers
        self.gone: list[str] = []

    async def of(self, user: str) -> dict[str, Pusher]:
        return self.pushers

    async def reject(self, user: str, pushers: list[tuple[str, Pusher]]) -> int:
        self.gone += [device for device, _ in pushers]
        return len(pushers)


async def test_where_no_device_is_registered_there_is_nobody_to_tell() -> None:
    assert await MatrixFormat(Registered()).recipients("bob") is None  # type: ignore[arg-type]


async def test_a_groups_message_is_in_the_room_of_that_group() -> None:
    pushers = Registered(phone=Pusher("app", "key", {}, 7))
    format = MatrixFormat(pushers)  # type: ignore[arg-type]
    to = await format.recipients("bob") or {}
    told = json.loads(format.body("bob", to, WAITS, "push_1", NOW))
    assert told["notification"]["room_id"] == "team"
    assert told["notification"]["event_id"] == "$push_1"
    assert told["notification"]["devices"] == [{"app_id": "app", "pushkey": "key", "pushkey_ts": 7, "data": {}}]


async def test_only_what_is_rejected_goes() -> None:
    pushers = Registered(phone=Pusher("app", "key", {}, 7), tablet=Pusher("app", "other", {}, 7))
    format = MatrixFormat(pushers)  # type: ignore[arg-type]
    assert await format.accepted("bob", pushers.pushers, b'{"rejected": ["key", "unknown"]}')
    assert pushers.gone == ["phone"]


async def test_where_every_key_is_rejected_nobody_was_told() -> None:
    pushers = Registered(phone=Pusher("app", "key", {}, 7), tablet=Pusher("app", "key", {}, 8))
    format = MatrixFormat(pushers)  # type: ignore[arg-type]
    assert not await format.accepted("bob", pushers.pushers, b'{"rejected": ["key"]}')
    assert pushers.gone == ["phone", "tablet"]


@pytest.mark.parametrize("content", (b"", b"{", b"[]", b'"x"', b'{"rejected": 7}', b'{"rejected": [7, null]}', b"{}"))
def test_an_answer_that_cannot_be_read_rejects_nothing(content: bytes) -> None:
    assert rejected_in(content) == frozenset()
