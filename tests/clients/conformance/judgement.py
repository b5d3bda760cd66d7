"""Whether a client kept its promise, judged from what is left of a run. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.clients.scripted.inboxes import LOGGED, SENT, fingerprint, identity

Frame = dict[str, Any]
Identity = tuple[str, str, str]


@dataclass(frozen=True)
class Command:
    """A send, or a change of a message, that the application asked for. `to`: a user, several, or `#group`."""

    id: str
    to: str | list[str]
    body: Any
    kind: str = "message"

    @property
    def places(self) -> list[str]:
        return [self.to] if isinstance(self.to, str) else self.to


@dataclass(frozen=True)
class Outcome:
    """What the application was told of a send: `accepted` or `failed`, and by which of its processes."""

    process: int
    event: str
    id: str


@dataclass
class Run:
    """`log`: what the application handled, in its order. `inbox`: what its inbox held, for each time that the server
    lost its tail, and at last now (`was`: what an erased message was); `gone`: identities of which a gap was told.
    `inboxes`: what the recipients were sent, erased or not. `refused`: (id, to) where one of several did not take it.
    `retried`: ids the application asked for again. `given_up`: those it discarded, or that wait for its word.
    `may_repeat`: how often a process was killed just anywhere: also between a log's line and the cursor, where the last
    one comes again.
    """

    user: str
    log: list[Frame] = field(default_factory=list)
    inbox: list[list[Frame]] = field(default_factory=lambda: [[]])
    gone: set[Identity] = field(default_factory=set)
    commands: list[Command] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    inboxes: dict[str, list[Frame]] = field(default_factory=dict)
    refused: set[tuple[str, str]] = field(default_factory=set)
    retried: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    may_repeat: int = 0


def violations(run: Run) -> list[str]:
    """Everything wrong; empty when the promise was kept."""
    return [*received_wrongly(run), *sent_wrongly(run), *told_wrongly(run)]


# What the application received


def received_wrongly(run: Run) -> list[str]:
    logged = without_repeats([identity(message) for message in run.log], run.may_repeat)
    twice = [f"handled {count} times: {name}" for name, count in Counter(logged).items() if count > 1]
    known = {identity(frame): frame for held in run.inbox for frame in held}
    strange = [f"handled, and was never in the inbox: {name}" for name in logged if name not in known]
    changed = [
        f"another body than in the inbox: {message}"
        for message in run.log
        if identity(message) in known and not says_the_same(message, known[identity(message)])
    ]
    due = {identity(frame) for frame in run.inbox[-1] if frame["type"] in LOGGED} - run.gone
    lost = [f"never handled: {name}" for name in sorted(due - set(logged))]
    return twice + strange + changed + lost + out_of_order(logged, run)


def says_the_same(message: Frame, held: Frame) -> bool:
    bodies = {fingerprint(frame.get("body")) for frame in (held, held.get("was", held))}
    return fingerprint(message.get("body")) in bodies


def without_repeats(logged: list[Identity], most: int) -> list[Identity]:
    """Leaves out up to so many that stand directly behind themselves."""
    found: list[Identity] = []
    for name in logged:
        if most and found and found[-1] == name:
            most -= 1
        else:
            found.append(name)
    return found


def out_of_order(logged: list[Identity], run: Run) -> list[str]:
    """The log follows the inbox without holes; after a loss it goes on with what is there then."""
    generations = [[identity(frame) for frame in held if frame["type"] in LOGGED] for held in run.inbox]
    passed = set(run.gone)
    generation, reached = 0, 0
    for name in logged:
        place = find(generations[generation], name, reached)
        while place is None and generation + 1 < len(generations):
            generation, reached = generation + 1, 0
            place = find(generations[generation], name, reached)
        if place is None:
            return [f"out of order: {name}"]
        skipped = set(generations[generation][reached:place]) - passed
        if skipped:
            return [f"out of order: {name} before {sorted(skipped)}"]
        passed.add(name)
        reached = place + 1
    return []


def find(names: list[Identity], name: Identity, start: int) -> int | None:
    return names.index(name, start) if name in names[start:] else None


# What it sent


def sent_wrongly(run: Run) -> list[str]:
    found = []
    for to in {to for command in run.commands for to in command.places} | set(run.inboxes):
        wanted = {command.id: command for command in run.commands if to in command.places}
        ours = [frame for frame in run.inboxes.get(to, []) if frame["type"] in SENT and frame["from"] == run.user]
        strange = [frame["id"] for frame in ours if frame["id"] not in wanted]
        found += [f"{id} in the inbox of {to}, and nobody sent it" for id in strange]
        held = [frame for frame in ours if frame["id"] in wanted]
        found += bodies_changed(held, wanted)
        found += not_once(to, [frame["id"] for frame in held], wanted, run)
    return found


def bodies_changed(held: Iterable[Frame], wanted: dict[str, Command]) -> list[str]:
    return [
        f"{frame['id']} was sent with another body, or as another kind: {frame}"
        for frame in held
        if (fingerprint(frame.get("body")), frame["type"])
        != (fingerprint(wanted[frame["id"]].body), wanted[frame["id"]].kind)
    ]


def not_once(to: str, held: list[str], wanted: dict[str, Command], run: Run) -> list[str]:
    accepted = {outcome.id for outcome in run.outcomes if outcome.event == "accepted"}
    twice = [f"{id} is {count} times in the inbox of {to}" for id, count in Counter(held).items() if count > 1]
    due = {id for id in accepted if (id, to) not in run.refused} - set(held)
    lost = [f"{id} was accepted, and is not in the inbox of {to}" for id in wanted if id in due]
    free = run.retried | run.given_up
    order = [id for id in held if id not in free]
    right = [id for id in wanted if id in set(order)]
    return twice + lost + ([] if order == right else [f"not in the order of sending at {to}: {order}"])


# What it was told about that


def told_wrongly(run: Run) -> list[str]:
    found = []
    told = Counter((outcome.process, outcome.id) for outcome in run.outcomes)
    for (process, id), count in told.items():
        most = 2 if id in run.retried else 1
        if count > most:
            found.append(f"the application was told {count} times of {id} by process {process}")
    known = {command.id for command in run.commands}
    found += [f"told of {outcome.id}, which nobody sent" for outcome in run.outcomes if outcome.id not in known]
    ended = {outcome.id for outcome in run.outcomes} | run.given_up
    return found + [f"{command.id} never ended" for command in run.commands if command.id not in ended]
