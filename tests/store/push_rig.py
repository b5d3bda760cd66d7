"""The calls around push, on a store of a test's own."""

from dataclasses import dataclass

from scripts.lab.timing import eventually_async
from service.core.cursor import START
from service.core.push import Told, partition_of
from service.store.push import Lease, PushRows, Reminders, Tries
from service.store.push_sweep import PushSweep
from service.store.pushers import Pusher, Pushers
from tests.store.conftest import Store

PUSHER = Pusher("org.example.chat", "key-1", {"format": "event_id_only"}, 1_795_350_000)
LEASE = 60.0


@dataclass
class PushStore:
    """`now`: what committers take for the server's clock (ms). With it at 0 every row is due at once."""

    store: Store
    now: int = 0
    after: float = 0.0

    def __post_init__(self) -> None:
        clients, keys = self.store.clients, self.store.keys
        self.store.appends.remind = Reminders(keys, lambda: self.now, self.after)
        self.rows = PushRows(clients.rest, keys, self.store.appends.remind, settling=0)
        self.sweep = PushSweep(clients.rest, keys, self.rows)
        self.pushers = Pushers(clients.rest, keys, most=2)

    async def due(self) -> dict[str, Lease]:
        """Leases whatever is due."""
        return {lease.user: lease for lease in await self.rows.lease(1000, LEASE)}

    async def lease(self, user: str = "bob") -> Lease:
        """As soon as the row is due, which may be in the next millisecond."""

        async def due() -> Lease | None:
            return (await self.due()).get(user)

        return await eventually_async(due, f"the row of {user} is due")

    async def score(self, user: str = "bob") -> float | None:
        """Of a user's row."""
        found = await self.store.do("ZSCORE", self.store.keys.push(partition_of(user)), user)
        return None if found is None else float(found)

    async def everything(self) -> None:
        """Every script runs, and every key of push is there after it."""
        await self.store.send("p1")
        lease = await self.lease()
        await self.rows.look("bob", lease.now_ms)
        await self.rows.told("bob", Told(START, START))
        await self.rows.done(lease, lease.now_ms, Tries(1, "503", lease.now_ms))
        await self.pushers.put("bob", "phone", PUSHER)
        await self.pushers.reject("bob", [("phone", Pusher("other", "key", {}, 0))])
        await self.sweep.lead("w-7f3a91c2", LEASE)
