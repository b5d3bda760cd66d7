"""Sending from a backend, over HTTP: one id over all tries, so that a repeat is never a second message."""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from inboxd_client import requests
from inboxd_client.errors import SendError, Unreachable
from inboxd_client.frames import Acceptance
from inboxd_client.outbox import ItemKind
from inboxd_client.requests import Request
from inboxd_client.shapes import Fate, Group, Mark, Presence
from inboxd_client.timing import Timing
from inboxd_client.values import body_text, check_id, check_life, check_to, compact, new_id

MOST_IN_A_BATCH = 1000
MOST_BYTES_OF_A_BATCH = 4 * 2**20
"""The service takes 16 MiB unless told otherwise."""
AGAIN = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed; of 507 (`inbox_full`) the sender is told at once."""
KNOCKED = frozenset({"unavailable", "internal", "overloaded", "rate_limited", "out_of_order"})
"""Codes of a batch's items after which the item is tried again."""
LEAST_TIMEOUT = 0.1
"""Seconds for one request, however late it is."""


@dataclass(frozen=True)
class Outgoing:
    """One message of a batch, to users (`to`) or to a `group`; or a change of one. `sender`: only with `send:any`.

    `id`: None for one that is made. `kind` other than `send`: a change of the message `target` of the same sender
    (a `react` may be to that of another: `target_from`), for the same `to` or `group`.
    """

    to: str | Sequence[str] | None
    body: Any
    id: str | None = None
    expires_in: int | None = None
    sender: str | None = None
    group: str | None = None
    receipts: bool = True
    kind: ItemKind = ItemKind.SEND
    target: str | None = None
    target_from: str | None = None

    def content(self, default_sender: str | None) -> dict[str, Any]:
        """As it goes out, under an id from here on. Raises SendError `invalid_field`."""
        id = new_id() if self.id is None else self.id
        check_id(id)
        check_to(self.to, self.group, id)
        check_life(self.expires_in, id)
        body_text(self.body, id)
        more = {
            "to": self.to if self.to is None or isinstance(self.to, str) else list(self.to),
            "group": self.group,
            "type": None if self.kind is ItemKind.SEND else self.kind.value,
            "target": self.target,
            "target_from": self.target_from,
            "from": self.sender or default_sender,
            "expires_in": self.expires_in,
            "receipts": None if self.receipts else False,
        }
        body = {} if self.kind is ItemKind.DELETE else {"body": self.body}
        return {"id": id, **body} | {name: value for name, value in more.items() if value is not None}


class InboxSender:
    """Sends for as long as `deadline` (seconds from the call) allows; a context manager. Synchronous, thread-safe.

    - `url`: `http(s)://host[/base]` of the service.
    - `token`: a JWT, or a callable that gives one (asked before every request). `user`: instead, where the service
      runs without authentication.
    - `sender`: in whose name, for tokens with `send:any`; each message may say otherwise.
    - `timeout`: seconds for one request. `timing`: the back-off.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | Callable[[], str] | None = None,
        user: str | None = None,
        sender: str | None = None,
        deadline: float = 60.0,
        timeout: float = 10.0,
        timing: Timing | None = None,
    ) -> None:
        self._token, self._user, self._sender = token, user, sender
        self._deadline, self._timeout, self._timing = deadline, timeout, timing or Timing()
        self._http = httpx2.Client(base_url=url.rstrip("/"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends its connections."""
        self._http.close()

    def send(
        self,
        to: str | Sequence[str],
        body: Any,
        id: str | None = None,
        *,
        expires_in: int | None = None,
        receipts: bool = True,
        sender: str | None = None,
        deadline: float | None = None,
    ) -> Acceptance:
        """Until it is accepted. Raises SendError (refused for good), Unreachable (not known; same `id` is safe)."""
        return self.send_one(Outgoing(to, body, id, expires_in, sender, receipts=receipts), deadline=deadline)

    def send_to_group(
        self,
        group: str,
        body: Any,
        id: str | None = None,
        *,
        expires_in: int | None = None,
        receipts: bool = True,
        sender: str | None = None,
        deadline: float | None = None,
    ) -> Acceptance:
        """As `send`, to a group that the sender is a member of."""
        one = Outgoing(None, body, id, expires_in, sender, group, receipts)
        return self.send_one(one, deadline=deadline)

    def edit(
        self,
        target: str,
        body: Any,
        *,
        to: str | Sequence[str] | None = None,
        group: str | None = None,
        id: str | None = None,
        sender: str | None = None,
    ) -> Acceptance:
        """Another body for the message `target` of the same sender to the same recipients, or group. As `send`."""
        return self.send_one(Outgoing(to, body, id, sender=sender, group=group, kind=ItemKind.EDIT, target=target))

    def delete(
        self,
        target: str,
        *,
        to: str | Sequence[str] | None = None,
        group: str | None = None,
        id: str | None = None,
        sender: str | None = None,
    ) -> Acceptance:
        """Erases the message `target` of the same sender in these inboxes, or the group's. As `send`."""
        return self.send_one(Outgoing(to, None, id, sender=sender, group=group, kind=ItemKind.DELETE, target=target))

    def send_one(self, one: Outgoing, *, deadline: float | None = None) -> Acceptance:
        """As `send`."""
        message = one.content(self._sender)
        tries = self._tries(deadline)
        while True:
            answer = self._try(Request("POST", "/v1/messages", content=message), tries)
            if answer is not None:
                return accepted_or_raise(answer, message["id"])
            tries.pause(message["id"])

    def send_batch(
        self, messages: Sequence[Outgoing], *, deadline: float | None = None
    ) -> list[Acceptance | SendError | Unreachable]:
        """One result for each, in order; nothing is raised for a message at fault.

        They are accepted in their order. Any number: a thousand go out at a time, and from the first whose outcome is
        not known on they are sent again, those that were not accepted, in order, under the same ids.
        """
        results: dict[int, Acceptance | SendError | Unreachable] = {}
        waiting: list[tuple[int, dict[str, Any]]] = []
        for place, message in enumerate(messages):
            try:
                waiting.append((place, message.content(self._sender)))
            except SendError as fault:
                results[place] = fault
        tries = self._tries(deadline)
        while waiting:
            batch = first_of(waiting)
            answered = self._send_some([message for _, message in batch], tries)
            results |= {batch[place][0]: result for place, result in answered.items()}
            waiting = [one for one in waiting if one[0] not in results]
            if len(answered) == len(batch):
                tries.begin_anew()
            elif not tries.may_go_on():
                results |= {place: tries.unreachable(message["id"]) for place, message in waiting}
                break
        return [results[place] for place in range(len(messages))]

    def _send_some(self, batch: list[dict[str, Any]], tries: "Tries") -> dict[int, Acceptance | SendError]:
        """The results that are known, by their place in `batch`."""
        answer = self._try(Request("POST", "/v1/messages/batch", content={"messages": batch}), tries)
        if answer is None:
            return {}
        if answer.status_code != 200:
            fault = error_of(answer, "")
            return {place: SendError(fault.code, fault.message, one["id"]) for place, one in enumerate(batch)}
        found: dict[int, Acceptance | SendError] = {}
        for place, result in enumerate(answer.json()["results"]):
            if result.get("status", 500) < 300:
                found[place] = Acceptance.of(result)
            elif result.get("code") in KNOCKED:
                tries.reason = str(result.get("code"))
            else:
                found[place] = problem(result, batch[place]["id"])
        return found

    # Groups, and what became of a message. All raise RequestError (as the service says), Unreachable.

    def fate(self, id: str, *, sender: str | None = None, to: str | None = None) -> Fate:
        """What has become of a message. `sender`: None for the sender of this object. `to`: one of its recipients."""
        found: Fate = self._ask(requests.fate(id, sender or self._sender, to))
        return found

    def group(self, group: str) -> Group:
        """Its members and owner."""
        found: Group = self._ask(requests.group(group))
        return found

    def put_group(self, group: str, members: Iterable[str], name: str | None = None) -> None:
        """Creates it; or replaces name and members."""
        self._ask(requests.put_group(group, members, name))

    def delete_group(self, group: str) -> None:
        """For good."""
        self._ask(requests.delete_group(group))

    def add_member(self, group: str, user: str) -> None:
        """Who is one already stays one."""
        self._ask(requests.add_member(group, user))

    def remove_member(self, group: str, user: str) -> None:
        """Nothing comes to that user any more."""
        self._ask(requests.remove_member(group, user))

    def marks(self, group: str) -> list[Mark]:
        """How far each member has it, and has read it."""
        found: list[Mark] = self._ask(requests.marks(group))["marks"]
        return found

    def presence(self, users: Iterable[str]) -> list[Presence]:
        """Of up to 200 users, now."""
        found: list[Presence] = self._ask(requests.presence(users))["presence"]
        return found

    def _ask(self, request: Request) -> Any:
        """Asking again does no harm: each says how it is to be, not what to do."""
        tries = self._tries(None)
        while True:
            answer = self._try(request, tries)
            if answer is not None:
                return requests.answer_of(answer)
            tries.pause("")

    # Tries

    def _tries(self, deadline: float | None) -> "Tries":
        return Tries(self._timing, self._deadline if deadline is None else deadline)

    def _try(self, request: Request, tries: "Tries") -> httpx2.Response | None:
        """The answer; None where it is worth another try."""
        tries.count += 1
        try:
            answer = self._http.request(
                request.method, request.path, params=list(request.query),
                content=None if request.content is None else compact(request.content).encode(),
                headers=self._headers(request), timeout=max(min(self._timeout, tries.left()), LEAST_TIMEOUT),
            )  # fmt: skip
        except httpx2.TransportError as fault:
            tries.note(str(fault) or type(fault).__name__)
            return None
        if answer.status_code not in AGAIN:
            return answer
        after = answer.headers.get("Retry-After", "")
        wait = float(after) if after.isascii() and after.isdigit() else None
        tries.note(f"HTTP {answer.status_code} {error_of(answer, '').code}", wait)
        return None

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {} if request.content is None else {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token if isinstance(self._token, str) else self._token()}"
        elif self._user is not None:
            headers["X-Inboxd-User"] = self._user
        return headers


def first_of(waiting: list[tuple[int, dict[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
    """As many as fit into one request."""
    size = 0
    for count, (_, message) in enumerate(waiting[:MOST_IN_A_BATCH]):
        size += len(compact(message).encode())
        if count and size > MOST_BYTES_OF_A_BATCH:
            return waiting[:count]
    return waiting[:MOST_IN_A_BATCH]


class Tries:
    """How often it was tried, and how long it may go on."""

    def __init__(self, timing: Timing, deadline: float) -> None:
        self._timing, self._end = timing, time.monotonic() + deadline
        self.count = self._failures = 0
        self.reason = ""
        self._ordered: float | None = None

    def note(self, reason: str, wait: float | None = None) -> None:
        """What came of this one; `wait`: seconds, as the service asks for."""
        self.reason, self._ordered = reason, wait

    def left(self) -> float:
        """Seconds until the deadline."""
        return self._end - time.monotonic()

    def begin_anew(self) -> None:
        """It went well."""
        self._failures = 0

    def may_go_on(self) -> bool:
        """Waits for the next try; not, where the time would be over by then.

        The service's own wait has up to a fifth on top, so that those who were told the same do not come at once.
        """
        wait = self._timing.wait(self._failures, random.uniform)
        if self._ordered is not None:
            wait = self._ordered * random.uniform(1.0, 1.2)
        self._failures, self._ordered = self._failures + 1, None
        if time.monotonic() + wait > self._end:
            return False
        time.sleep(wait)
        return True

    def pause(self, id: str) -> None:
        """As `may_go_on`; raises Unreachable."""
        if not self.may_go_on():
            raise self.unreachable(id)

    def unreachable(self, id: str) -> Unreachable:
        """The end."""
        return Unreachable(id, self.count, self.reason)


def accepted_or_raise(answer: httpx2.Response, id: str) -> Acceptance:
    """Raises SendError."""
    if answer.status_code in (200, 202):
        return Acceptance.of(answer.json())
    raise error_of(answer, id)


def error_of(answer: httpx2.Response, id: str) -> SendError:
    """Of any answer that is none of ours, too."""
    return problem(requests.problem_of(answer), id)


def problem(content: Mapping[str, Any], id: str) -> SendError:
    """Of a problem's members."""
    return SendError(str(content.get("code", "internal")), str(content.get("detail", "")), id)
