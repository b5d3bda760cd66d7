"""Does it cost more where there is more of something? Each size in turns, each set against the smallest."""

from dataclasses import replace
from functools import partial

from scripts.bench.fill import Fill, fill
from scripts.bench.measure import Result, Seen, Stage, under_load
from scripts.bench.pairs import IN_FLIGHT, PAIRS, PairsLoad
from scripts.bench.series import figures, in_turns, per_message, result
from scripts.bench.subjects.subject import NO_COPY, Subject
from scripts.bench.ws_load import CONNECTIONS, WsSends

USERS = (1_000, 10_000, 100_000)
BACKLOGS = (10, 1_000, 10_000)  # entries
DEVICES = (1, 2, 5)


def users(name: str, stage: Stage) -> Result:
    """Sends to 1,000, to 10,000 and to 100,000 inboxes that exist, one entry in each."""
    to = {count: f"{stage.tag}-{name}-{count}" for count in USERS}
    fill([Fill(stage.service.endpoint, to[count], count) for count in USERS])
    measured = in_turns(
        stage.sizes.rounds,
        {f"{count:,} inboxes": partial(_stored, stage, to[count], count) for count in USERS},
    )
    return result(measured, *figures(measured, "CPU per message", "µs", per_message))


def backlog(name: str, stage: Stage) -> Result:
    """Sends to inboxes in which so many entries wait. The longer, the fewer, so that they take equal room."""
    to = {length: f"{stage.tag}-{name}-{length}" for length in BACKLOGS}
    inboxes = {length: stage.sizes.backlogs // length for length in BACKLOGS}
    fill([Fill(stage.service.endpoint, to[length], inboxes[length], length) for length in BACKLOGS])
    measured = in_turns(
        stage.sizes.rounds,
        {f"{length:,} waiting": partial(_stored, stage, to[length], inboxes[length]) for length in BACKLOGS},
    )
    return result(measured, *figures(measured, "CPU per message", "µs", per_message))


def _stored(stage: Stage, to: str, recipients: int, number: int) -> Seen:
    """Senders whose ids are their own in each round, to these inboxes."""
    load = WsSends(
        *(stage.service.endpoint, f"{to}-{number}", stage.sizes.turn, stage.sizes.warm_up, stage.manners),
        *(CONNECTIONS, to, recipients),
    )
    return under_load(stage, [load])


def devices(name: str, stage: Stage) -> Result:
    """Pairs whose recipients have one, two or five devices: each gets and acks everything."""
    measured = in_turns(
        stage.sizes.rounds,
        {_devices(count): partial(_paired, stage, f"{name}-{count}", count) for count in DEVICES},
    )
    delivered = {_devices(count): count for count in DEVICES}
    each = {size: [_by_delivery(one, delivered[size]) for one in seen] for size, seen in measured.items()}
    return result(
        measured,
        *figures(measured, "CPU per message", "µs", per_message, None),
        *figures(each, "CPU per delivery", "µs", per_message),
    )


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _by_delivery(seen: Seen, deliveries: int) -> Seen:
    """The same, each delivery of a message counted for itself."""
    return replace(seen, cost=replace(seen.cost, messages=seen.cost.messages * deliveries))


def _paired(stage: Stage, name: str, count: int, number: int) -> Seen:
    [tag, *_] = stage.tags(f"{name}-{number}")
    load = PairsLoad(
        *(stage.service.endpoint, tag, stage.sizes.turn, stage.sizes.warm_up, stage.manners),
        *(PAIRS, IN_FLIGHT, count),
    )
    return under_load(stage, [load])


GROWTH = (
    Subject("growth-users", NO_COPY, users, anywhere=True),
    Subject("growth-backlog", NO_COPY, backlog),
    Subject("growth-devices", NO_COPY, devices, anywhere=True),
)
