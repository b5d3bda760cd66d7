"""A part of a large service, under the load that it has in the whole: what the simulation runs."""

from dataclasses import dataclass

from scripts.sizing.assumptions import Assumptions
from scripts.sizing.costs import Costs, Price
from scripts.sizing.model import MICRO, size

LOOK_SHARE = 5.0  # seconds' worth of a connection's audit: what a look at everybody costs for each


@dataclass(frozen=True)
class Slice:
    """Each second in a slice; seconds of a core for each thing."""

    workers: int
    shards: int
    singles: float
    groups: float  # sends to groups
    members: int
    reached: float  # connections that an entry is announced to
    connects: float
    connections: int  # of a worker
    send: Price
    relay: Price
    member: Price
    connect: Price  # with what is replayed then
    look: float
    storm: float = 1.0  # of a dead worker's connections, the share that comes to this slice
    net: float = 0.0002
    sync: float = 0.0005
    cores: int = 0
    failover: float = 15.0


def sliced(a: Assumptions, costs: Costs, *, most: int = 4, all_shards: bool = False) -> Slice:
    """A slice of the service that these people need. `all_shards`: each worker meets as many servers as in the whole,
    which have less to do then; for what happens where one of them is lost.
    """
    whole = size(a, costs)
    workers = min(most, whole.workers)
    share = workers / whole.workers
    shards = whole.servers if all_shards else max(1, round(whole.servers * share))
    # Where the slice has more servers than its share, each is slower, and so as busy as in the whole.
    slower = 1.0 if all_shards else shards / (whole.servers * share)
    r = whole.rates
    each = r.connections / whole.workers
    worker_idle = each * costs.second.worker * MICRO
    server_idle = (r.connections * costs.second.server / whole.servers + whole.workers * costs.look_us) * MICRO

    def priced(price: Price) -> Price:
        return Price(
            price.worker * MICRO / max(0.1, 1 - worker_idle),
            price.server * MICRO * slower / max(0.1, 1 - server_idle),
            *(0, 0),
        )

    spread = whole.servers > 1
    again = r.replayed / r.connects
    connect = Price(
        costs.connect.worker + again * costs.replay.worker, costs.connect.server + again * costs.replay.server, 0, 0
    )
    return Slice(
        *(workers, shards, r.entries * share - r.members * share, r.sends * a.grouped * share, round(a.group)),
        reached=a.reached * a.devices,
        connects=r.connects * share,
        connections=round(each),
        send=priced(costs.calm_send if spread else costs.full_send),
        relay=priced(costs.calm_relay if spread else costs.full_relay),
        member=priced(costs.member),
        connect=priced(connect),
        look=costs.second.worker * MICRO * LOOK_SHARE,
        storm=(workers - 1) / (whole.workers - 1),
    )
