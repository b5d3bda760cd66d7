"""Push as the settings want it; without a URL there is none."""

import base64

from service.config import Settings
from service.delivery.worker import Worker

SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"


async def made(**settings: str) -> Worker:
    worker = Worker(Settings.model_validate({"redis_url": "redis://127.0.0.1:1/0", **settings}), lambda _: None)
    await worker.clients.aclose()
    return worker


async def test_without_a_url_nothing_is_noted_down_and_nobody_looks() -> None:
    worker = await made()
    assert worker.appends.remind is None
    assert worker.pushing.tasks() == ()
    worker.pushing.close()
    await worker.pushing.drained()
    await worker.pushing.expect("bob")


async def test_with_a_url_appends_note_down_and_two_tasks_look() -> None:
    worker = await made(push_url="https://backend.example/", push_secret=SECRET)
    assert worker.appends.remind is not None
    tasks = worker.pushing.tasks()
    for _, work in tasks:
        work.close()
    assert [name for name, _ in tasks] == ["pusher", "sweeper of push"]
    worker.pushing.close()
    assert worker.pushing.pusher is not None
    assert worker.pushing.pusher.closing
