"""Frames of every shape: proper ones, and what can be made of them."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

NAMES = ("sink", "a:b", "..", "0-0", "x" * 128)
"""Users that nobody in these tests is."""
STRANGE_TEXT = (
    "",
    "\x00",
    "a\x00b",
    "\x7f\x1b[0m",
    "\u2028",
    "\ud800",
    "\udfff\ud800",
    "é" * 65,
    "x" * 129,
    "bob}",
    "b\nc",
    "$",
)
STRANGE_NUMBERS = (
    0, -1, 1.0, 1.5, -0.0, 1e308, float("inf"), float("nan"), 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64,
    -(2**63), -(2**63) - 1, 10**40, 10**400, True, False,
)  # fmt: skip
PUT_IN = (
    b"", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"}", b"[",
    b'"', b"\\u", b"\n", b"\r", b"NaN", b"/**/", b"'",
)  # fmt: skip
DEPTHS = (1, 2, 63, 64, 65, 128, 253, 254, 255, 300)


def one_of(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    """As `sampled_from`, which would name all of them in every message."""
    return st.integers(0, len(values) - 1).map(lambda at: values[at])


name = one_of(NAMES)
message_id = st.integers(0, 5).map(lambda n: f"m{n}")
cursor = st.sampled_from(("0-0", "0-0", "0-0", "1-1", f"{10**16 - 1}-{10**16 - 1}"))
ref = st.text(st.characters(codec="utf-8"), max_size=10)


def nested(levels: int) -> Any:
    value: Any = []
    for level in range(levels - 1):
        value = [value] if level % 2 else {"k": value}
    return value


strange = st.one_of(
    st.none(),
    one_of(STRANGE_NUMBERS),
    one_of(STRANGE_TEXT),
    st.sampled_from(DEPTHS).map(nested),
    st.text(max_size=5),
    st.integers(65_000, 70_000).map(lambda size: "x" * size),
    st.recursive(st.none() | st.booleans() | st.integers(), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
)
body = st.one_of(
    strange, st.recursive(st.none() | ref, lambda inner: st.dictionaries(ref, inner, max_size=3), max_leaves=5)
)


def shape(
    kind: str, required: dict[str, Any], optional: dict[str, Any] | None = None
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), **required}, optional=optional or {})


HELLO = shape(
    "hello",
    {"device": one_of(("phone", "a:b", "x" * 128))},
    {"token": ref, "cursor": cursor, "window": st.integers(1, 1024), "attempt": st.integers(0, 2**53 - 1)},
)
SEND = shape(
    "send",
    {"id": message_id, "to": st.one_of(name, st.lists(name, min_size=1, max_size=3, unique=True)), "body": body},
    {"expires_in": st.integers(1, 2_592_000), "from": name},
)
PROPER = st.one_of(
    SEND,
    SEND,
    shape("ack", {"cursor": cursor}),
    shape("skip", {"id": message_id}),
    shape("history", {"ref": ref}, {"before": cursor, "limit": st.integers(1, 200), "with": name}),
    shape("auth", {"token": ref}),
    shape("ping", {}, {"ref": ref}),
    HELLO,
)


@st.composite
def spoiled(draw: st.DrawFn, frames: st.SearchStrategy[dict[str, Any]] = PROPER) -> dict[str, Any]:
    """With one thing missing, more, or other than it should be."""
    found = dict(draw(frames))
    match draw(st.integers(0, 3)):
        case 0:
            del found[draw(st.sampled_from(sorted(found)))]
        case 1:
            found[draw(one_of(("x", "", "TYPE", "\x00", "\ud800", "__proto__", "u" * 300)))] = draw(strange)
        case 2:
            found["type"] = draw(
                st.one_of(strange, st.sampled_from(("welcome", "message", "read", "SEND", "ack", "ping")))
            )
        case _:
            found[draw(st.sampled_from(sorted(found)))] = draw(strange)
    return found


@st.composite
def text_of(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> bytes:
    """As JSON, one way or another: escaped or plain, some keys twice, with blanks."""
    value = draw(values)
    plain = draw(st.booleans())
    text = json.dumps(value, ensure_ascii=not plain, separators=draw(st.sampled_from(((",", ":"), (", \t", " :\r ")))))
    if isinstance(value, dict) and value and draw(st.integers(0, 5)) == 0:
        key = draw(st.sampled_from(sorted(value)))
        again = json.dumps({key: draw(st.one_of(strange, st.just(value[key])))}, ensure_ascii=not plain)
        text = f"{text[:-1]},{again[1:]}"
    return text.encode("utf-8", "surrogatepass")


@st.composite
def cut(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> bytes:
    """Bytes gone, doubled, or put in."""
    text = draw(texts)
    at, until = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
    put = draw(st.sampled_from(PUT_IN))
    return text[:at] + put + text[draw(st.sampled_from((at, until))) :]


def line_of(frames: st.SearchStrategy[dict[str, Any]], *others: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Mostly proper, or spoiled in one thing; `others` beside them."""
    proper, wrong = text_of(frames), text_of(spoiled(frames))
    return st.one_of(proper, wrong, wrong, cut(proper), text_of(strange), st.just(b" \r"), *others)


LINE = line_of(PROPER)
PAYLOAD = st.lists(LINE, min_size=0, max_size=4).map(b"\n".join)
