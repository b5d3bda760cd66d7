"""Who the users are, how they write, and on what it runs. Every figure is an assumption: replace it by your own."""

from dataclasses import dataclass, replace

DAY = 86_400


@dataclass(frozen=True)
class Assumptions:
    """People first, then machines."""

    users: float = 10_000
    online: float = 0.2  # share of users connected in the busiest hour
    devices: float = 1.3  # connections of a user who is online
    owned: float = 1.5  # devices of a user that each get everything, now or later
    messages: float = 30  # sent by a user on a day
    peak: float = 4.0  # the busiest seconds against the day's mean
    grouped: float = 0.4  # share of sends that go to a group
    group: float = 12  # members of the group of such a send, on average over sends
    reached: float = 0.5  # share of entries whose recipient is connected when they come
    receipts: float = 1.2  # receipts appended for each message to one user: `delivered` and `read`, gathered
    copy: bool = True  # INBOXD_OWN_COPY
    session: float = 900  # seconds a connection lasts: phones change networks, applications go to the background
    history: float = 1000  # INBOXD_HISTORY: acked entries an inbox keeps
    retention: float = 30  # days of INBOXD_RETENTION
    hottest: float = 1.0  # sends a second of the busiest group
    biggest: float = 200  # its members
    push: bool = True

    worker_load: float = 0.5  # share of a worker's core that is used in the busiest seconds
    server_load: float = 0.5  # of a server's: it must bear a storm of reconnects beside it
    connections: float = 10_000  # INBOXD_MAX_CONNECTIONS
    worker_memory: float = 120e6  # bytes of a worker that nobody is connected to
    server_memory: float = 16e9  # bytes of data of one server: what is loaded again in minutes
    replicas: int = 1  # of each server, in other zones
    zones: int = 3
    heartbeat: float = 3.0  # INBOXD_HEARTBEAT


SMALL = Assumptions(zones=1)
MIDDLE = replace(SMALL, users=1e6, zones=3, hottest=5, biggest=1000, history=300)
LARGE = replace(MIDDLE, users=1e8, history=100, hottest=50, connections=20_000, worker_load=0.4, server_memory=32e9)
CELL = replace(LARGE, users=5e6, hottest=10)
SIZES = (SMALL, MIDDLE, CELL, LARGE)


def of(users: float) -> Assumptions:
    """The set that was made for a number of users near this one."""
    nearest = next((one for one in SIZES if users <= 2 * one.users), LARGE)
    return replace(nearest, users=users)
