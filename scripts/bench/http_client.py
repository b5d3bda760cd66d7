"""HTTP/1.1 over a kept-alive connection, one request at a time, as lean as a load generator needs it."""

import asyncio
from typing import NamedTuple, cast

from scripts.bench.ws_client import Endpoint

ANSWER_TIMEOUT = 60.0  # s


class Answer(NamedTuple):
    status: int
    body: bytes


def post(endpoint: Endpoint, path: str, user: str, body: bytes) -> bytes:
    """A whole POST of JSON in the name of `user`."""
    return with_body(head(endpoint, "POST", path, user), body)


def head(endpoint: Endpoint, method: str, path: str, user: str) -> bytes:
    """All of a request that stays the same when `user` repeats it with another body."""
    name, value = endpoint.credentials(user)
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {endpoint.host}:{endpoint.port}\r\n{name}: {value}\r\n"
        f"Content-Type: application/json\r\nContent-Length: "
    ).encode()


def with_body(head: bytes, body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)


def split_answer(data: bytes) -> tuple[Answer, bytes] | None:
    """The first answer in `data` and what follows it; None while it is incomplete."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    lowered = head.lower() + b"\r\n"
    _, found, tail = lowered.partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError(f"an answer without Content-Length: {head.splitlines()[0].decode()}")
    size = int(tail.partition(b"\r\n")[0])
    if len(rest) < size:
        return None
    return Answer(int(head.split(b" ", 2)[1]), rest[:size]), rest[size:]


class HttpConnection(asyncio.Protocol):
    """One kept-alive connection."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._data = b""
        self._answer: asyncio.Future[Answer] | None = None

    async def request(self, raw: bytes) -> Answer:
        """Sends one request. ConnectionError when the server closes before it has answered."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(raw)
        return await self._answer

    def close(self) -> None:
        self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # no instance of it under uvloop

    def data_received(self, data: bytes) -> None:
        split = split_answer(self._data + data)
        if split is None:
            self._data += data
            return
        answer, self._data = split
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))


async def connect(endpoint: Endpoint) -> HttpConnection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(HttpConnection, endpoint.host, endpoint.port)
    return connection
