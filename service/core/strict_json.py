"""JSON as the protocol takes it: no lone surrogates, no NaN, integers of 64 bits, bounded nesting."""

import json
import re
from typing import Any, NoReturn

import orjson

from service.core.errors import ClientError

MAX_DEPTH = 64
"""Levels of arrays and objects within a message's body."""

_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_TOO_DEEP = ClientError("invalid_field", "nested too deep")


def loads(raw: bytes) -> Any:
    """The value of `raw`. Raises ClientError: `malformed_json`, or `invalid_field` for JSON we do not take."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        _explain(raw, error)
    if _LONG_NUMBER.search(raw):
        # orjson reads an integer past 64 bits as a float, which would change it silently.
        try:
            json.loads(raw.decode(), parse_int=_integer_of_64_bits)
        except RecursionError:
            raise _TOO_DEEP from None
    return value


def salvage(raw: bytes) -> dict[str, Any]:
    """What can be read of an object that `loads` refused, so that its sender may be told which it was; else {}."""
    try:
        value = json.loads(raw.decode(), parse_int=str)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def check_depth(raw: bytes, body: Any) -> None:
    """`raw`: the text that held the body. Raises ClientError where the body is nested too deep."""
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and depth(body) > MAX_DEPTH:
        raise ClientError("invalid_field", f"body is nested deeper than {MAX_DEPTH} levels", "body")


def depth(value: Any) -> int:
    """Levels of arrays and objects; a plain value has none."""
    deepest = 0
    pending = [(value, 0)]
    while pending:
        item, level = pending.pop()
        if isinstance(item, dict):
            children: Any = item.values()
        elif isinstance(item, list):
            children = item
        else:
            continue
        deepest = max(deepest, level + 1)
        pending.extend((child, level + 1) for child in children)
    return deepest


def _explain(raw: bytes, error: orjson.JSONDecodeError) -> NoReturn:
    """The parser says one thing for two faults: text that is not JSON, and JSON that we do not take."""
    try:
        json.loads(raw.decode(), parse_int=str, parse_constant=_not_json)
    except RecursionError:
        raise _TOO_DEEP from None
    except ValueError:
        if "depth" in error.msg:
            raise _TOO_DEEP from None
        raise ClientError("malformed_json", f"not JSON: {error.msg} at character {error.pos}") from None
    raise ClientError("invalid_field", f"{error.msg} at character {error.pos}") from None


def _integer_of_64_bits(text: str) -> int:
    value = int(text) if len(text) <= 20 else None
    if value is None or not -(2**63) <= value < 2**64:
        raise ClientError("invalid_field", "an integer lies outside -2^63 to 2^64-1")
    return value


def _not_json(text: str) -> NoReturn:
    raise ValueError(text)
