"""Memory of idle connections: how much the workers grow while devices connect and then say nothing."""

import asyncio
from dataclasses import dataclass

from scripts.bench.crew import Gate, Outcome, Stopwatch
from scripts.bench.ws_client import Device, Endpoint, connect_all
from scripts.bench.ws_load import faults

WARM = 100  # connections opened before the first reading: what is built once is not counted


@dataclass(frozen=True)
class IdleLoad:
    """Stops at two gates: with `WARM` connections open, and with `connections` more."""

    endpoint: Endpoint
    tag: str
    connections: int

    async def run(self, gate: Gate) -> Outcome:
        devices = self._devices(WARM + self.connections)
        await connect_all(devices[:WARM])
        await gate.wait()
        watch = Stopwatch()
        await connect_all(devices[WARM:])
        ended = watch.started + watch.wall()
        outcome = Outcome(
            *(watch.started, ended, self.connections, self.connections, watch.cpu(), watch.wall()),
            faults=faults(devices),
        )
        await gate.wait()
        for device in devices:
            device.leave()
        await asyncio.sleep(0)
        return outcome

    def _devices(self, count: int) -> list[Device]:
        return [Device(self.endpoint, f"{self.tag}-{number}") for number in range(count)]
