"""What one request sends stays in order over users and groups: behind an unknown outcome nothing is tried."""

from typing import Any

import pytest

from service.delivery.worker import Worker
from service.edge.bodies import Addressed, commit_all
from tests.delivery.group_rig import change, said
from tests.delivery.rig import a_message, quick, running, troubled, until


def of(where: str, n: int) -> Addressed:
    id = f"{where}-{n}"
    return (a_message(id), None) if where == "bob" else (said(id), "team")


@pytest.mark.parametrize(("first", "then"), (("bob", "team"), ("team", "bob")))
@pytest.mark.parametrize("when", ("before", "after"))
async def test_behind_an_unknown_outcome_nothing_is_tried_wherever_it_goes(
    redis_url: str, real_redis: Any, first: str, then: str, when: str
) -> None:
    async with running(quick(redis_url)) as worker:
        await change(worker, "put", "bob")
        setattr(broken(worker, first), when, 1)
        batch = [of(first, 0), of(first, 1), of(then, 2), of(first, 3)]
        told = await commit_all(worker, batch)
        assert [one.status for one in told] == [503] * 4
        await until(lambda: not worker.committer.down, "the store is asked again")
        again = await commit_all(worker, batch)
        assert [one.fault for one in again] == [None] * 4
        assert await in_bobs(real_redis) == [f"{first}-0", f"{first}-1", f"{then}-2", f"{first}-3"]


def broken(worker: Worker, where: str) -> Any:
    return troubled(worker.appends, "append") if where == "bob" else troubled(worker.groups, "commit")


async def in_bobs(client: Any) -> list[str]:
    rows = await client.xrange("chat:inbox:{bob}")
    return [fields[b"id"].decode() for _, fields in rows if fields[b"kind"] == b"message"]
