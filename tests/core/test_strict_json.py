"""JSON as the protocol takes it, and what is said about the rest."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.lab.timing import PATIENCE
from service.core import strict_json
from service.core.errors import ClientError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # No lone surrogates: they are not UTF-8.
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


def verdict(raw: bytes) -> str:
    """`read`, or the code of the refusal."""
    try:
        strict_json.loads(raw)
    except ClientError as error:
        return error.fault.code
    return "read"


@given(VALUES)
def test_json_of_the_protocol_is_read_as_it_is(value: Any) -> None:
    assert strict_json.loads(orjson.dumps(value)) == value


@given(st.binary(max_size=40))
def test_whatever_comes_is_read_or_refused_with_a_code(raw: bytes) -> None:
    assert verdict(raw) in ("read", "malformed_json", "invalid_field")


@pytest.mark.parametrize(
    "raw",
    (
        b"",
        b" ",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[1 2]",
        b"NaN",
        b"Infinity",
        b"[-Infinity]",
        b"nul",
        b'"\n"',
        b'"open',
        b"\xff",
        b'"\xc3"',
        b"{} {}",
        b"01",
        b"1" * 19 + b"x",
    ),
)
def test_what_is_no_json_is_malformed(raw: bytes) -> None:
    assert verdict(raw) == "malformed_json"


@pytest.mark.parametrize("encoding", ("utf-16", "utf-16-le", "utf-32", "utf-8-sig"))
def test_json_in_another_encoding_than_utf_8_is_malformed(encoding: str) -> None:
    assert verdict('{"a": 1}'.encode(encoding)) == "malformed_json"


@pytest.mark.parametrize("raw", (rb'"\ud800"', rb'{"a": "\udc00\ud800"}', rb'{"\ud83d": 1}'))
def test_lone_surrogates_are_a_field_at_fault(raw: bytes) -> None:
    assert verdict(raw) == "invalid_field"


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert strict_json.loads(rb'"\ud83d\ude00"') == "\N{GRINNING FACE}"


@pytest.mark.parametrize("number", (-(2**63), 2**63 - 1, 2**63, 2**64 - 1, 10**18))
def test_integers_of_64_bits_are_kept_exactly(number: int) -> None:
    assert strict_json.loads(b'{"n": %d}' % number) == {"n": number}


@pytest.mark.parametrize("number", (-(2**63) - 1, 2**64, 10**30, -(10**30), 10**400))
def test_other_integers_are_refused_instead_of_rounded(number: int) -> None:
    assert verdict(b'{"n": [%d]}' % number) == "invalid_field"


def test_a_number_too_large_for_a_float_is_refused() -> None:
    assert verdict(b"[1e400]") == "invalid_field"


@pytest.mark.parametrize("raw", (b'"12345678901234567890123"', b"0.12345678901234567890123", b"1e19"))
def test_long_digits_that_are_no_integer_are_taken(raw: bytes) -> None:
    assert strict_json.loads(raw) == json.loads(raw)


@pytest.mark.parametrize("levels", (1100, 5000, 100_000))
@pytest.mark.parametrize("opening", (b"[", b'{"a":'))
def test_nesting_past_all_parsers_is_a_field_at_fault(levels: int, opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    assert verdict(opening * levels + b"1" + closing * levels) == "invalid_field"


@pytest.mark.parametrize("levels", range(900, 1030, 10))
def test_nesting_near_the_parsers_limits_with_a_long_number_is_no_crash(levels: int) -> None:
    """A long number is looked at by a second parser, whose limit is lower and depends on its caller's depth."""
    assert verdict(b"[" * levels + b"1234567890123456789" + b"]" * levels) in ("read", "invalid_field")


READ = """
import sys
from service.core import strict_json
from service.core.errors import ClientError
try:
    strict_json.loads(eval(sys.argv[1]))
except ClientError as error:
    print(error.fault.code)
"""


@pytest.mark.parametrize(
    "expression",
    (
        """b'"' + b'\\\\"' * 2**19""",
        """b'"' * (2**20 + 1)""",
        """b'"' + b'\\\\' * 2**20""",
        """b'\\\\' * 2**20""",
        """b'["' * 2**19""",
    ),
)
def test_the_largest_frame_keeps_no_worker_busy_whatever_it_says(expression: str) -> None:
    """Reading takes time by the length of a text, not by its square: one socket must not stop the others."""
    read = [sys.executable, "-c", READ, expression]
    try:
        done = subprocess.run(read, timeout=PATIENCE, capture_output=True, text=True, check=True)
    except subprocess.TimeoutExpired:
        pytest.fail(f"takes more than {PATIENCE:.0f} s to refuse")
    assert done.stdout.strip() in ("malformed_json", "invalid_field")


# Depth.


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("levels", (0, 1, 2, 64, 65, 900))
def test_depth_counts_the_levels_of_arrays_and_objects(levels: int) -> None:
    assert strict_json.depth(nested(levels)) == levels


def test_depth_is_that_of_the_deepest_branch() -> None:
    assert strict_json.depth([1, [2, {"a": [3]}], [4]]) == 4


def test_sixty_four_levels_of_body_are_taken_and_one_more_is_not() -> None:
    body = nested(64)
    strict_json.check_depth(orjson.dumps({"body": body}), body)
    with pytest.raises(ClientError) as caught:
        strict_json.check_depth(orjson.dumps({"body": nested(65)}), nested(65))
    assert caught.value.fault.field == "body"
    assert caught.value.fault.code == "invalid_field"


def test_many_brackets_side_by_side_are_not_deep() -> None:
    body: list[list[int]] = [[] for _ in range(1000)]
    strict_json.check_depth(orjson.dumps(body), body)


@pytest.mark.parametrize("levels", (65, 253, 254, 255, 900))
def test_a_body_too_deep_is_refused_however_deep_the_writer_goes(levels: int) -> None:
    with pytest.raises(ClientError) as caught:
        strict_json.compact(nested(levels), 65_536)
    assert (caught.value.fault.code, caught.value.fault.field) == ("invalid_field", "body")


@pytest.mark.parametrize(
    "refuse",
    (
        lambda: strict_json.compact(nested(65), 65_536),
        lambda: strict_json.compact(nested(255), 65_536),
        lambda: strict_json.loads(b"[" * 2000 + b"]" * 2000),
    ),
    ids=("body", "writer", "reader"),
)
def test_no_refusal_is_raised_twice(refuse: Callable[[], object]) -> None:
    """It would keep every text that it was raised for."""
    raised = []
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            refuse()
        raised.append(caught.value)
    assert raised[0] is not raised[1]
