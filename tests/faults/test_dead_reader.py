"""A worker that is deaf must not look healthy: `/readyz` answers 503 while its stream does not reach it.

Here, from outside: the server refuses XREAD, so that every reader fails however often it tries.
In the process (the reader's task has ended, its owner must react): tests/delivery/test_liveness.py.
"""

from collections.abc import Callable

import pytest

from scripts.lab.service import Service
from tests.faults.readiness import readyz_says
from tests.support.api import Api
from tests.support.device import Device


@pytest.fixture(scope="module")
def service(serve: Callable[..., Service]) -> Service:
    return serve()


async def test_workers_whose_readers_fail_are_not_ready_and_deliver_all_the_same(
    service: Service, alice: str, bob: str
) -> None:
    await readyz_says(service, 200)
    with service.store() as store:
        async with Device(service.url, bob) as phone, Api(service.url, alice) as api:
            await phone.go_live()
            store.execute_command("ACL", "SETUSER", "default", "-xread")
            try:
                await readyz_says(service, 503)
                assert store.acl_log(), "the server did refuse the readers"
                assert (await api.http.get("/healthz")).status_code == 200
                await api.send(bob, "heard by the audit alone", "m-1")
                await phone.receive(1)
            finally:
                store.execute_command("ACL", "SETUSER", "default", "+xread")
            await readyz_says(service, 200)
            assert phone.connections == 1


async def test_a_stream_of_another_type_makes_its_worker_unready_until_it_is_gone(service: Service) -> None:
    await readyz_says(service, 200)
    names = [worker.name for worker in service.workers()]
    with service.store() as store:
        for name in names:
            store.set(f"chat:worker:{{{name}}}", "not a stream")
        await readyz_says(service, 503)
        for name in names:
            store.delete(f"chat:worker:{{{name}}}")
    await readyz_says(service, 200)
