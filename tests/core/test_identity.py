"""What an identity may, and what may name a user."""

import pytest

from service.core.identity import CHAT, NAME, OPS, SEND_ANY, Identity


def test_an_identity_may_what_one_of_its_scopes_allows() -> None:
    assert Identity("bob", frozenset((CHAT,))).may(CHAT, SEND_ANY)
    assert not Identity("bob", frozenset((CHAT,))).may(OPS)
    assert not Identity("bob", frozenset()).may(CHAT)


def test_without_a_token_it_may_everything_for_ever() -> None:
    assert Identity("bob").may(OPS)
    assert Identity("bob").expires is None


@pytest.mark.parametrize("text", ("bob", "a.b_c-d@e:f+9", "x" * 128))
def test_these_may_name_a_user(text: str) -> None:
    assert NAME.fullmatch(text)


@pytest.mark.parametrize("text", ("", "x" * 129, "b b", "bob\n", "b/b", "bób"))
def test_these_may_not(text: str) -> None:
    assert not NAME.fullmatch(text)
