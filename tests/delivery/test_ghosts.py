"""Claims of sessions that are gone, which a server without its newest writes still has."""

from typing import Any

from service.delivery.ghosts import Ghosts
from service.delivery.worker import Worker
from service.store.presence import Claim
from tests.delivery.conftest import Start
from tests.delivery.rig import NEVER, connect, until_stored

PRESENCE = "chat:presence:{bob}"


async def claimed(worker: Worker, device: str) -> Claim:
    """A claim in the worker's name that none of its sessions has."""
    claim = Claim("bob", device, worker.id, f"s-{device}")
    assert await worker.presence.claim(claim)
    return claim


async def test_what_two_looks_find_is_released_and_what_is_held_stays(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    ghosts = Ghosts(worker, worker.presence, worker.hub)
    client = await connect(worker)
    await claimed(worker, "laptop")
    ghosts.suspected = True
    await ghosts.look()
    assert set(await store.hgetall(PRESENCE)) == {"phone", "laptop"}
    await ghosts.look()
    assert await store.hgetall(PRESENCE) == {"phone": client.claim.row}
    assert await worker.presence.noted(worker.id) == {("bob", "phone", client.claim.session)}


async def test_the_audit_looks_when_the_server_was_away(worker: Worker, store: Any) -> None:
    client = await connect(worker)
    await claimed(worker, "laptop")
    worker.changed()

    async def alone() -> bool:
        return bool(await store.hgetall(PRESENCE) == {"phone": client.claim.row})

    await until_stored(alone, "the ghost to be released")


async def test_a_note_without_a_claim_is_crossed_out(start: Start) -> None:
    worker = await start(audit_interval=NEVER)
    claim = await claimed(worker, "laptop")
    await worker.presence.release_row("bob", "laptop", claim.row)
    ghosts = Ghosts(worker, worker.presence, worker.hub)
    ghosts.suspected = True
    await ghosts.look()
    assert await worker.presence.noted(worker.id)
    await ghosts.look()
    assert not await worker.presence.noted(worker.id)


async def test_without_suspicion_nobody_looks(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    ghosts = Ghosts(worker, worker.presence, worker.hub)
    await claimed(worker, "laptop")
    for _ in range(3):
        await ghosts.look()
    assert await store.hexists(PRESENCE, "laptop")


async def test_one_that_comes_between_two_looks_is_left_alone(start: Start, store: Any) -> None:
    worker = await start(audit_interval=NEVER)
    ghosts = Ghosts(worker, worker.presence, worker.hub)
    ghosts.suspected = True
    await ghosts.look()
    await claimed(worker, "laptop")
    for _ in range(2):
        await ghosts.look()
    assert await store.hexists(PRESENCE, "laptop")


async def test_a_successors_claim_stays_though_the_ghost_had_the_same_device(start: Start, store: Any) -> None:
    worker, other = await start(audit_interval=NEVER), await start(audit_interval=NEVER)
    ghosts = Ghosts(worker, worker.presence, worker.hub)
    await claimed(worker, "phone")
    successor = await connect(other)
    ghosts.suspected = True
    for _ in range(2):
        await ghosts.look()
    assert await store.hgetall(PRESENCE) == {"phone": successor.claim.row}
    assert not await worker.presence.noted(worker.id)
