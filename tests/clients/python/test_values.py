"""Ids, bodies, and when a token is to be renewed."""

import uuid
from typing import Any

import pytest
from inboxd_client.errors import SendError
from inboxd_client.tokens import expiry, renew_in
from inboxd_client.values import body_text, new_id

from tests.support.issuer import Issuer


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_ids_are_uuids_of_version_seven_in_the_order_of_time() -> None:
    ids = [new_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert {uuid.UUID(id).version for id in ids} == {7}
    assert {uuid.UUID(id).variant for id in ids} == {uuid.RFC_4122}
    assert [id[:8] for id in ids] == sorted(id[:8] for id in ids)


@pytest.mark.parametrize("body", (None, "é\n", [1.5, -(2**63), 2**64 - 1], {"": {}}, nested(64)))
def test_a_body_that_the_service_takes_is_taken(body: Any) -> None:
    assert body_text(body, "m-1")


@pytest.mark.parametrize("body", (2**64, -(2**63) - 1, float("inf"), "\udc80", {1, 2}, b"x", nested(65), nested(9999)))
def test_a_body_that_the_service_would_refuse_is_refused(body: Any) -> None:
    with pytest.raises(SendError, match="invalid_field"):
        body_text(body, "m-1")


def test_a_token_is_renewed_after_four_fifths_of_its_remaining_life() -> None:
    token = Issuer().token("alice", exp=2000)
    assert expiry(token) == 2000
    assert renew_in(token, 1000) == 800
    assert renew_in(token, 3000) == 0


@pytest.mark.parametrize("token", ("", "a.b", "a.b.c", "a.e30.c", "a.eyJleHAiOiJ4In0.c", "a.W10.c"))
def test_what_has_no_end_that_can_be_read_is_never_renewed(token: str) -> None:
    assert renew_in(token, 0) is None
