"""The judgement itself: a run that is fine, and one planted fault at a time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.clients.conformance.judgement import Command, Outcome, Run, violations

Frame = dict[str, Any]


def message(id: str, sender: str = "alice", body: Any = 1) -> Frame:
    return {"type": "message", "from": sender, "id": id, "body": body}


def fine() -> Run:
    inbox = [message("a"), message("b"), message("c")]
    commands = [Command("x", "carol", 1), Command("y", "carol", 2), Command("z", "dora", 3)]
    return Run(
        "bob",
        log=list(inbox),
        inbox=[inbox],
        commands=commands,
        outcomes=[Outcome(1, "accepted", command.id) for command in commands],
        inboxes={"carol": [message("x", "bob", 1), message("y", "bob", 2)], "dora": [message("z", "bob", 3)]},
    )


def test_a_run_that_is_fine_passes() -> None:
    assert violations(fine()) == []


def without(run: Run, to: str, place: int) -> Run:
    held = list(run.inboxes[to])
    del held[place]
    return replace(run, inboxes={**run.inboxes, to: held})


PLANTED: dict[str, tuple[Callable[[Run], Run], str]] = {
    "lost": (lambda run: replace(run, log=run.log[:2]), "never handled"),
    "handled twice": (lambda run: replace(run, log=[*run.log, run.log[0]]), "handled 2 times"),
    "out of order": (lambda run: replace(run, log=[run.log[1], run.log[0], run.log[2]]), "out of order"),
    "invented": (lambda run: replace(run, log=[*run.log, message("q")]), "never in the inbox"),
    "changed": (lambda run: replace(run, log=[*run.log[:2], message("c", body=9)]), "another body"),
    "a send lost": (lambda run: without(run, "carol", 0), "is not in the inbox"),
    "a send twice": (
        lambda run: replace(run, inboxes={**run.inboxes, "dora": run.inboxes["dora"] * 2}),
        "2 times in the inbox",
    ),
    "sends swapped": (
        lambda run: replace(run, inboxes={**run.inboxes, "carol": run.inboxes["carol"][::-1]}),
        "not in the order",
    ),
    "sent by nobody": (
        lambda run: replace(run, inboxes={**run.inboxes, "dora": [*run.inboxes["dora"], message("w", "bob")]}),
        "nobody sent it",
    ),
    "sent with another body": (
        lambda run: replace(run, inboxes={**run.inboxes, "dora": [message("z", "bob", 4)]}),
        "with another body, or",
    ),
    "an edit sent as a message": (
        lambda run: replace(run, commands=[*run.commands[:2], Command("z", "dora", 3, "edit")]),
        "as another kind",
    ),
    "a receipt lost": (
        lambda run: replace(run, inbox=[[*run.inbox[0], {"type": "receipt", "by": "carol", "id": "delivered:x"}]]),
        "never handled: ('receipt', 'carol', 'delivered:x')",
    ),
    "never told": (lambda run: replace(run, outcomes=run.outcomes[1:]), "x never ended"),
    "told twice": (lambda run: replace(run, outcomes=run.outcomes * 2), "told 2 times"),
    "told of a strange one": (
        lambda run: replace(run, outcomes=[*run.outcomes, Outcome(1, "failed", "w")]),
        "which nobody sent",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_found(planted: str) -> None:
    change, said = PLANTED[planted]
    assert said in "\n".join(violations(change(fine())))


def test_what_a_gap_has_told_of_may_be_missing() -> None:
    run = fine()
    assert violations(replace(run, log=run.log[1:], gone={("message", "alice", "a")})) == []


def test_an_erased_message_counts_as_handled_before_or_after() -> None:
    run = fine()
    erased = {"type": "deleted", "from": "alice", "id": "b", "was": message("b")}
    held = [run.inbox[0][0], erased, run.inbox[0][2]]
    assert violations(replace(run, inbox=[held])) == []
    assert violations(replace(run, inbox=[held], log=held)) == []
    assert "another body" in violations(replace(run, inbox=[held], log=[held[0], message("b", body=9), held[2]]))[0]


def test_one_of_several_recipients_may_refuse() -> None:
    run = fine()
    both = replace(run, commands=[*run.commands[:2], Command("z", ["dora", "erin"], 3)])
    assert violations(both) == ["z was accepted, and is not in the inbox of erin"]
    assert violations(replace(both, refused={("z", "erin")})) == []


def test_another_process_may_tell_again() -> None:
    run = fine()
    assert violations(replace(run, outcomes=[*run.outcomes, Outcome(2, "accepted", "x")])) == []


def test_after_a_loss_the_log_goes_on_with_what_is_there() -> None:
    a, b, c, d = (message(id) for id in "abcd")
    run = replace(fine(), log=[a, b, d, c], inbox=[[a, b, c], [a, d, b, c]])
    assert violations(run) == []
    assert violations(replace(run, log=[a, b, c])) == ["never handled: ('message', 'alice', 'd')"]
    assert "out of order" in violations(replace(run, log=[a, c, d, b]))[0]


def test_a_kill_lets_the_last_one_come_again_and_no_other() -> None:
    run = fine()
    a, b, c = run.log
    assert violations(replace(run, log=[a, b, b, c], may_repeat=1)) == []
    assert violations(replace(run, log=[a, b, b, b, c], may_repeat=1)) != []
    assert violations(replace(run, log=[a, b, a, c], may_repeat=1)) != []
