"""What docs/protocol.md says becomes of what a client writes: read off the page, and nothing of the service's own."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from typing import Any, NoReturn

PAGE = (Path(__file__).parents[2] / "docs/protocol.md").read_text()
CODES = {
    code: (int(status), again == "yes")
    for code, status, again in re.findall(r"^\| `(\w+)` \| (\d{3}) \| (yes|no) \|", PAGE, re.MULTILINE)
}
"""Of section 9: the code's status, and whether to try again."""
CLOSES = {int(code) for code in re.findall(r"^\| (\d{4}) \| ", PAGE, re.MULTILINE)}

MAX_BODY, MAX_DEPTH = 65_536, 64
_NAME = re.compile(r"[A-Za-z0-9._\-@:+]{1,128}")
_ID = re.compile(r"[A-Za-z0-9._\-@:+]{1,64}")
_CURSOR = re.compile(r"(?:0|[1-9][0-9]{0,15})-(?:0|[1-9][0-9]{0,15})")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Line:
    """What becomes of one line: one of `codes` is told as an error, or, without any, `answer` comes.

    `id` and `ref`: what the error repeats. `fatal`: close 4500 follows.
    """

    codes: frozenset[str] = frozenset()
    answer: str = ""
    id: str | None = None
    ref: str | None = None
    fatal: bool = False


_MALFORMED = Line(frozenset({"malformed_json"}), fatal=True)


class MalformedError(Exception):
    pass


def is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_cursor(value: Any) -> bool:
    return isinstance(value, str) and _CURSOR.fullmatch(value) is not None


def is_to(value: Any) -> bool:
    if not isinstance(value, list):
        return is_name(value)
    return 1 <= len(value) <= 100 and all(map(is_name, value)) and len(set(value)) == len(value)


def _number(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _text(most: int | None = None) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and (most is None or len(value) <= most)


def _or_null(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or rule(value)


REQUIRED: dict[str, dict[str, Callable[[Any], bool]]] = {
    "hello": {"device": is_name},
    "send": {"id": is_id, "to": is_to, "body": lambda body: depth(body) <= MAX_DEPTH},
    "skip": {"id": is_id},
    "ack": {"cursor": is_cursor},
    "history": {"ref": _text(128)},
    "auth": {"token": _text()},
    "ping": {},
}
OPTIONAL: dict[str, dict[str, Callable[[Any], bool]]] = {
    "hello": {
        "token": _or_null(_text()),
        "cursor": _or_null(is_cursor),
        "window": _number(1, 1024),
        "attempt": _or_null(_number(0, 2**53 - 1)),
    },
    "send": {"expires_in": _or_null(_number(1, 2_592_000)), "from": _or_null(is_name)},
    "history": {"before": _or_null(is_cursor), "limit": _number(1, 200), "with": _or_null(is_name)},
    "ping": {"ref": _or_null(_text(128))},
}
ANSWERS = {"send": "accepted", "history": "history", "auth": "authed", "ping": "pong"}


def depth(value: Any) -> int:
    """Levels of arrays and objects."""
    deepest, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        deepest += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return deepest


def parsed(text: str) -> tuple[Any, bool]:
    """The value, and whether section 2 takes it as far as JSON goes. Raises MalformedError."""
    broken = []

    def integer(digits: str) -> int:
        value = int(digits) if len(digits) < 30 else 2**100
        broken.append(not -(2**63) <= value < 2**64)
        return value

    def real(digits: str) -> float:
        broken.append(isinf(float(digits)))
        return float(digits)

    def constant(name: str) -> NoReturn:
        raise MalformedError(name)

    try:
        value = json.loads(text, parse_int=integer, parse_float=real, parse_constant=constant)
    except ValueError as error:
        raise MalformedError(text) from error
    return value, not any(broken) and not any(map(_SURROGATE.search, _strings(value)))


def _strings(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            pending += [*item, *item.values()]


def line(text: str) -> Line:
    """Of one line, after `hello`; on a connection that has been sent nothing."""
    try:
        value, readable = parsed(text)
    except MalformedError:
        return _MALFORMED
    if not readable:
        return _refused(value, {"invalid_field"})
    if not isinstance(value, dict):
        return _MALFORMED
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in REQUIRED:
        return _refused(value, {"unknown_type"})
    faults = set(_faults(kind, value))
    if kind == "hello":
        faults.add("hello_repeated")
    elif kind == "ack" and value.get("cursor") != "0-0":
        faults.add("ack_beyond_sent")
    return _refused(value, faults) if faults else Line(answer=ANSWERS.get(kind, ""), id=value.get("id"))


def _refused(value: Any, codes: set[str]) -> Line:
    found = value if isinstance(value, dict) else {}
    ref = found.get("ref")
    return Line(
        frozenset(codes),
        id=found["id"] if is_id(found.get("id")) else None,
        ref=ref if isinstance(ref, str) and len(ref) <= 128 and not _SURROGATE.search(ref) else None,
        fatal=found.get("type") in ("hello", "ack"),
    )


def _faults(kind: str, value: dict[str, Any]) -> Iterator[str]:
    required, optional = REQUIRED[kind], OPTIONAL.get(kind, {})
    known = required | optional
    if any(name not in value for name in required) or any(name not in {"type", *known} for name in value):
        yield "invalid_field"
    if any(not rule(value[name]) for name, rule in known.items() if name in value):
        yield "invalid_field"
    if (
        kind == "send"
        and len(json.dumps(value.get("body"), ensure_ascii=False, separators=(",", ":")).encode()) > MAX_BODY
    ):
        yield "too_large"


def first(text: str) -> Line:
    """Of the first line of a connection: no codes where it is a proper `hello`."""
    try:
        value, readable = parsed(text)
    except MalformedError:
        return _MALFORMED
    codes: set[str] = set()
    if not readable:
        codes.add("invalid_field")
    if not isinstance(value, dict):
        codes.add("malformed_json")
    elif value.get("type") != "hello":
        codes.add("hello_expected")
    else:
        codes.update(_faults("hello", value))
    return Line(frozenset(codes), fatal=bool(codes))


def lines(payload: bytes) -> list[str] | None:
    """The lines of a frame that are handled; None where it is no text at all (1007)."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    return [found for found in text.split("\n") if found.strip(" \t\r\n\v\f")]


def judged(payload: bytes) -> list[Line]:
    """Of a whole frame after `hello`: up to the first that ends the connection."""
    found = lines(payload)
    assert found is not None, "no text"
    if not found:
        return [_MALFORMED]
    told = []
    for text in found:
        told.append(line(text))
        if told[-1].fatal:
            break
    return told
