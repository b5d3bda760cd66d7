"""Where devices can be reached through a gateway."""

from dataclasses import replace

import pytest

from service.core.errors import ClientError
from tests.store.conftest import Store
from tests.store.push_rig import PUSHER, PushStore

OTHER = replace(PUSHER, pushkey="key-2")


@pytest.fixture
def push(store: Store) -> PushStore:
    return PushStore(store)


async def test_a_pusher_is_kept_as_it_was_given_replaced_and_forgotten(push: PushStore) -> None:
    await push.pushers.put("bob", "phone", PUSHER)
    assert await push.pushers.get("bob", "phone") == PUSHER
    await push.pushers.put("bob", "phone", OTHER)
    await push.pushers.put("bob", "tablet", PUSHER)
    assert await push.pushers.of("bob") == {"phone": OTHER, "tablet": PUSHER}
    await push.pushers.delete("bob", "phone")
    assert await push.pushers.get("bob", "phone") is None


async def test_a_user_has_no_more_pushers_than_devices(push: PushStore) -> None:
    for device in ("phone", "tablet", "phone"):
        await push.pushers.put("bob", device, PUSHER)
    with pytest.raises(ClientError) as refused:
        await push.pushers.put("bob", "watch", PUSHER)
    assert refused.value.fault.code == "too_many_devices"


async def test_what_a_gateway_rejects_goes_unless_it_was_registered_anew(push: PushStore) -> None:
    await push.pushers.put("bob", "phone", PUSHER)
    await push.pushers.put("bob", "tablet", OTHER)
    assert await push.pushers.reject("bob", [("phone", PUSHER), ("tablet", PUSHER)]) == 1
    assert await push.pushers.of("bob") == {"tablet": OTHER}


async def test_what_somebody_else_wrote_there_is_passed_over(push: PushStore) -> None:
    for row in (b"{", b'{"app_id": 1}', b'"text"'):
        await push.store.do("HSET", push.store.keys.pushers("bob"), "phone", row)
        assert await push.pushers.get("bob", "phone") is None
        assert await push.pushers.of("bob") == {}
