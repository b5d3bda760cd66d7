"""What the bodies of all requests hold together is bounded, and given back."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.core.errors import ClientError
from service.edge.intake import Intake

HTTP: Scope = {"type": "http"}


class App:
    """Reads one body, then waits until it may answer."""

    def __init__(self) -> None:
        self.read = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        self.read.set()
        await self.go_on.wait()


def parts(*sizes: int) -> Receive:
    """A body of parts of these sizes."""
    left = list(sizes)

    async def receive() -> Message:
        size = left.pop(0)
        return {"type": "http.request", "body": b"x" * size, "more_body": bool(left)}

    return receive


async def send(message: Message) -> None:
    raise AssertionError("nothing is answered here")


async def test_bodies_count_until_their_answer_is_out() -> None:
    app = App()
    intake = Intake(app, most=100)
    first = asyncio.create_task(intake(HTTP, parts(40, 40), send))
    await app.read.wait()
    assert intake.held == 80
    with pytest.raises(ClientError) as refused:
        await intake(HTTP, parts(10, 11), send)
    assert refused.value.fault.code == "overloaded"
    assert intake.held == 80, "what was refused is given back"
    app.go_on.set()
    await first
    assert intake.held == 0
    await intake(HTTP, parts(100), send)


async def test_one_that_fails_gives_back_what_it_held() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ValueError("as the test wants it")

    intake = Intake(failing, most=100)
    with pytest.raises(ValueError, match="wants"):
        await intake(HTTP, parts(50), send)
    assert intake.held == 0


async def test_sockets_are_not_counted() -> None:
    app = App()
    app.go_on.set()
    intake = Intake(app, most=1)
    await intake({"type": "websocket"}, parts(10), send)
