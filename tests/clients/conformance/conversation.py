"""What goes on around messages: entries of every kind that come to bob, and items of every kind that he sends."""

from typing import Any

from tests.clients.conformance.stage import Stage


def deliver_all(stage: Stage) -> None:
    """One entry of each kind for bob, in a group and without; the message that is erased was never seen."""
    say, number = stage.server.send, next(stage.numbers)
    team(stage)
    say("alice", type="send", id=f"k{number}", to="bob", body={"n": 1})
    say("alice", type="send", id=f"g{number}", group="team", body={"n": 2})
    say("alice", type="edit", id=f"e{number}", to="bob", target=f"k{number}", body={"n": 3})
    say("alice", type="react", id=f"r{number}", group="team", target=f"g{number}", body=None)
    say("alice", type="delete", id=f"d{number}", group="team", target=f"g{number}")
    stage.server.inboxes.tell_group("team", "renamed", "alice", "alice", name=f"Team {number}")
    receipt = {"type": "receipt", "id": f"delivered:x{number}", "target": f"x{number}", "kind": "delivered"}
    stage.server.deliver("bob", {**receipt, "by": "carol"}, {**receipt, "by": "dora"})
    stage.server.read("bob", {"type": "read", "from": "alice", "upto": f"k{number}"})


def team(stage: Stage) -> None:
    if "team" not in stage.server.inboxes.groups:
        stage.server.gather("team", "alice", "bob")


async def sent(stage: Stage) -> dict[str, Any]:
    """A message of one's own that can be changed."""
    [id] = await stage.send(1)
    return {"id": id, "from": "bob", "to": "carol"}


async def everything(stage: Stage) -> list[str]:
    """Sends, edits, deletions and reactions, to users and a group; ids in their order."""
    team(stage)
    plain = await sent(stage)
    [grouped] = await stage.send_group(1)
    in_group = {"id": grouped, "from": "bob", "group": "team"}
    return [
        plain["id"],
        grouped,
        await stage.change("edit", plain),
        await stage.change("react", in_group, body=None),
        *await stage.send(1, receipts=False),
        await stage.change("delete", in_group),
        await stage.change("delete", plain),
    ]
