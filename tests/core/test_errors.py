"""Errors carry a code of the protocol, which says status, title and whether to try again."""

import pytest

from service.core.errors import CODES, ClientError, Fault, InboxdError, Refused, Unavailable

STATUS = {
    "malformed_json": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "too_large": 413,
    "unsupported_media_type": 415,
    "invalid_field": 422,
    "id_reused": 422,
    "ack_beyond_head": 422,
    "unavailable": 503,
    "inbox_full": 507,
}


@pytest.mark.parametrize(("code", "status"), STATUS.items())
def test_a_code_has_the_status_of_the_protocol(code: str, status: int) -> None:
    assert Fault(code, "why").status == status


@pytest.mark.parametrize("code", CODES)
def test_a_fault_of_every_code_has_all_its_fields(code: str) -> None:
    fault = Fault(code, "why", "id")
    assert 400 <= fault.status <= 599
    assert fault.title
    assert isinstance(fault.retryable, bool)


def test_what_may_succeed_with_the_same_id_is_retryable() -> None:
    retryable = {code for code in CODES if Fault(code, "").retryable}
    of_limits = {"too_slow", "rate_limited", "too_many_connections", "overloaded"}
    assert retryable == {"out_of_order", "internal", "unavailable", "inbox_full"} | of_limits


def test_a_client_error_carries_its_fault() -> None:
    error = ClientError("too_large", "body: 9 bytes, at most 8 are taken", "body")
    assert error.fault == Fault("too_large", "body: 9 bytes, at most 8 are taken", "body")
    assert str(error) == "too_large: body: 9 bytes, at most 8 are taken"


def test_unavailable_keeps_why_for_the_log() -> None:
    assert Unavailable("ConnectionError: refused").why == "ConnectionError: refused"


@pytest.mark.parametrize("error", (Unavailable("x"), Refused("x"), ClientError("forbidden", "x")))
def test_every_error_on_purpose_has_one_root(error: Exception) -> None:
    assert isinstance(error, InboxdError)
