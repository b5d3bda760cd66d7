"""Several servers: what is lost with one of them, and what must not be."""

import threading
import time
from dataclasses import replace
from typing import Any

from redis.crc import key_slot

from scripts.chaos.checker import ACCEPTED_STAYS, MAY_REWIND
from scripts.chaos.crowd import Cast
from scripts.chaos.grounds import PREFIX, BareCluster, ClockedSentinels, Cluster, Sentinels
from scripts.chaos.history import Accepted, Gap
from scripts.chaos.stage import Stage, scenario
from scripts.lab import clock
from scripts.lab.timing import PATIENCE, eventually

KNOWING = Cast(names_cursor=True)
"""Devices with a memory of their own: only they can be told that the server forgot what they have seen."""

HOUR = 3_600_000


@scenario(
    "sentinel-failover",
    "the primary of a Sentinel group is killed (`kill -9`); every acceptance is on both replicas",
    ground=Sentinels,
    cast=KNOWING,
    promise=ACCEPTED_STAYS,
    settings={"DURABILITY": "replicated:2"},
)
def sentinel_failover(stage: Stage[Sentinels]) -> None:
    """With a replica away nothing is accepted; so the fault is over when the killed one is back as a replica."""
    group = stage.ground.group
    with stage.fault():
        old = group.kill_primary()
        new = group.await_failover(old)
        stage.wait(1)
        group.restart(old)
    levels = {record.durability for record in stage.history.records if isinstance(record, Accepted)}
    stage.prove(old != new, f"the primary was at {old} and is at {new}")
    stage.prove(stage.refusals() > 0, f"sends were refused meanwhile ({stage.refusals()})")
    stage.expect(levels == {"replicated:2"}, f"every acceptance names replicated:2, not {levels}")


@scenario(
    "sentinel-lost-tail",
    "failover to a replica that had not got the newest entries, and whose clock is an hour behind",
    ground=ClockedSentinels,
    cast=KNOWING,
    promise=MAY_REWIND,
    settings={"DURABILITY": "appended"},
    hindrance=clock.obstacle,
)
def sentinel_lost_tail(stage: Stage[ClockedSentinels]) -> None:
    group = stage.ground.group
    for replica in group.replicas:
        replica.set_clock(-HOUR)
    with stage.fault():
        _, new = fail_over_without_tail(stage)
    behind = time.time() - int(group.server(new).do("TIME")[0])
    stage.prove(behind > HOUR / 2000, f"the new primary's clock is {behind:.0f} s behind")
    stage.recover()
    eventually(lambda: rewound(stage), "devices are told", PATIENCE)
    stage.prove(rewound(stage) > 0, f"{rewound(stage)} times a device was told `rewound`")


def fail_over_without_tail(stage: Stage[Any]) -> tuple[int, int]:
    """Kills the primary after its replicas have not followed for a second; its port, and the new one's."""
    group, users = stage.ground.group, stage.crowd.users
    replicas = group.replicas
    for replica in replicas:
        replica.pause()
    # What is on its way to them already would still be read.
    group.server(group.primary).do("CLIENT", "KILL", "TYPE", "replica")
    stage.wait(1)
    before = stage.ground.heads(users)
    old = group.kill_primary()
    for replica in replicas:
        replica.resume()
    new = group.await_failover(old)
    after = stage.ground.heads(users)
    lost = sum(max(0, before[user].seq - after[user].seq) for user in users)
    stage.prove(old != new, f"the primary was at {old} and is at {new}")
    stage.prove(lost > 0, f"at least {lost} entries were lost with the old primary")
    return old, new


def rewound(stage: Stage[ClockedSentinels]) -> int:
    return sum(gap.reason == "rewound" for gap in stage.since_fault(Gap))


@scenario(
    "sentinel-unreplicated",
    "the primary is killed while its replicas do not follow; nothing was accepted meanwhile",
    ground=Sentinels,
    cast=KNOWING,
    promise=ACCEPTED_STAYS,
    settings={"DURABILITY": "replicated:2"},
)
def sentinel_unreplicated(stage: Stage[Sentinels]) -> None:
    with stage.fault():
        old, _ = fail_over_without_tail(stage)
        stage.ground.group.restart(old)
    stage.prove(stage.refusals() > 0, f"sends were refused meanwhile ({stage.refusals()})")


@scenario(
    "cluster-failover",
    "a primary of a Cluster is killed (`kill -9`); every acceptance is on its replica",
    ground=Cluster,
    cast=KNOWING,
    promise=replace(ACCEPTED_STAYS, copies_in_order=False),
    settings={"DURABILITY": "replicated:1"},
)
def cluster_failover(stage: Stage[Cluster]) -> None:
    group = stage.ground.group
    key = f"{PREFIX}inbox:{{{stage.crowd.users[0]}}}"
    with stage.fault():
        old = group.node_of(key)
        group.kill(old)
        new = group.await_failover(old, key_slot(key.encode()))
        stage.wait(1)
        group.restart(old)
    stage.prove(old != new, f"the primary of user0 was at {old} and is at {new}")
    stage.prove(stage.refusals() > 0, f"sends were refused meanwhile ({stage.refusals()})")


@scenario(
    "cluster-slots-moved",
    "slots move between nodes, key by key and at once, while messages are sent",
    ground=BareCluster,
    settings={"DURABILITY": "fsynced"},
)
def cluster_slots_moved(stage: Stage[BareCluster]) -> None:
    group, moved = stage.ground.group, 0
    slots = [key_slot(f"{PREFIX}inbox:{{{user}}}".encode()) for user in stage.crowd.users]
    with stage.fault():
        for slot in slots[:4]:
            target = stage.rng.choice([port for port in group.primaries() if port != group.owner(slot)])
            moved += group.move_slot(slot, target, lambda _: threading.Event().wait(0.05))
        at_once = 0
        if group.can_move_at_once:
            for slot in slots[4:]:
                target = stage.rng.choice([port for port in group.primaries() if port != group.owner(slot)])
                group.move_slots_at_once(slot, slot, target)
                at_once += 1
    stage.prove(moved > 0, f"{moved} keys of 4 slots moved one by one, {at_once} slots at once")
