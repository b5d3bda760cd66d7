"""`inboxd send`: one message over HTTP, tried again with the same id until the answer is known."""

import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from service.core.backoff import Backoff

FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0
"""Seconds between two tries: jittered, doubling, unless the service names its own."""
ANSWER_TIMEOUT = 10.0

UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer. `status` None: there was none; then `body` holds only what went wrong as `detail`.

    Without a status, or with 503, the message may or may not be in: the same `id` again is safe.
    """

    id: str
    status: int | None
    body: dict[str, Any]

    @property
    def unknown(self) -> bool:
        return self.status is None or self.status == UNAVAILABLE

    @property
    def accepted(self) -> bool:
        """By every recipient."""
        refused = [row for row in self.body.get("recipients", []) if "error" in row]
        return self.status in (200, 202) and not refused


def new_id() -> str:
    return str(uuid.uuid4())


def send(
    base: str,
    headers: Mapping[str, str],
    message: dict[str, Any],
    patience: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Posts `message` as whom `headers` name, and again for `patience` seconds while the answer is unknown."""
    backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
    deadline = time.monotonic() + patience
    # Loopback needs no proxy, and a proxy of the environment would not reach it.
    with httpx2.Client(base_url=base, headers=headers, timeout=ANSWER_TIMEOUT, trust_env=False) as client:
        while True:
            answer, told = _once(client, message)
            # S311 looks for secrets; this only spreads the tries of several senders.
            wait = max(told, backoff.wait(random.random()))
            if not answer.unknown or time.monotonic() + wait > deadline:
                return answer
            sleep(wait)


def _once(client: httpx2.Client, message: dict[str, Any]) -> tuple[Answer, float]:
    """The answer and the `Retry-After` in seconds (0: none)."""
    try:
        response = client.post("/v1/messages", json=message)
    except httpx2.TransportError as error:
        return Answer(message["id"], None, {"detail": f"{client.base_url}: {str(error) or type(error).__name__}"}), 0.0
    told = response.headers.get("Retry-After", "")
    return Answer(message["id"], response.status_code, _body(response)), float(told) if told.isdigit() else 0.0


def _body(response: httpx2.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {"detail": response.text[:200]}
