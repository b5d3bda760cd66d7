"""What comes over an HTTP connection, taken apart strictly, and held to section 9 of docs/protocol.md."""

import json
from dataclasses import dataclass
from typing import Any

from tests.hostile.page import CODES
from tests.support.api import LEAKS

MOST = 4000
"""Bytes of an error: it is no echo of what was sent."""


@dataclass(frozen=True)
class Answer:
    """`fields`: by lower-case name."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.fields.get("content-type", "").partition(";")[0]

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """Of a problem."""
        return str(self.content["code"]) if self.media_type == "application/problem+json" else None


def answers(came: bytes, *, headless: bool = False) -> list[Answer]:
    """All of them, but for 100 (Continue). `headless`: to HEAD, so that no body comes."""
    found = []
    while came:
        head, separator, came = came.partition(b"\r\n\r\n")
        assert separator, f"the head is not whole: {head[:300]!r}"
        line, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = line.split(" ", 2)
        assert version == "HTTP/1.1", line
        fields = {}
        for one in lines:
            name, colon, value = one.partition(":")
            assert colon, one
            assert name.lower() not in fields, one
            fields[name.lower()] = value.strip()
        if status == "100":
            continue
        # To bytes that are no HTTP, whatever they begin with, the answer is whole.
        bodiless = status == "204" or (headless and b'"code":"malformed_request"' not in came)
        size = 0 if bodiless else int(fields["content-length"])
        assert len(came) >= size, f"the body is not whole: {came[:300]!r}"
        found.append(Answer(int(status), fields, came[:size]))
        came = came[size:]
    return found


def check(answer: Answer, *, older: bool = False) -> None:
    """`older`: the older protocol, which has its own shape. Never the service's own failure."""
    assert answer.status not in {500, 503}, answer
    assert answer.fields["x-content-type-options"] == "nosniff", answer
    assert "content-security-policy" in answer.fields, answer
    if answer.status < 400:
        return
    assert answer.status != 405 or answer.fields["allow"], answer
    assert len(answer.body) < MOST, "an error is no echo"
    content = answer.content
    assert not LEAKS.search(str(content)), content
    if older and answer.media_type == "application/json":
        assert content == {"code": answer.status, "msg": content["msg"], "data": ""}
        return
    assert answer.media_type == "application/problem+json", answer
    assert CODES[content["code"]][0] == answer.status == content["status"], answer
    assert content["type"] == f"urn:inboxd:{content['code']}"
    assert all(isinstance(content[name], str) and content[name] for name in ("title", "detail")), content
    assert set(content) <= {"type", "title", "status", "detail", "code", "field", "recipients"}, content
