"""What a change is aimed at: who knows its target, what it erases, when it goes with it."""

from dataclasses import replace

import pytest

from service.core.aiming import Sight, aimed, looked_into, only_told, sight_of
from service.core.cursor import Cursor
from service.core.entries import Kind
from service.core.sending import Appended, AppendStatus, Message

ROW = "5-1 m1 alice to bob"
OWN = "6-1 m1 alice to bob,carol"


def change(kind: Kind, *to: str, sender: str = "alice", of: str = "alice") -> Message:
    return Message("c1", sender, to or ("bob",), b"1", "p", kind=kind, target="m1", target_from=of)


def known(message: Message, sights: dict[str, Sight], *repeated: str) -> tuple[bool, ...]:
    return aimed(message, sights, set(repeated), 0).known


own = pytest.mark.parametrize("kind", (Kind.EDIT, Kind.DELETE, Kind.REACT))


@own
def test_a_message_is_known_where_the_recipients_inbox_or_the_own_copy_says_so(kind: Kind) -> None:
    asked = change(kind, "bob", "carol", "dave")
    assert looked_into(asked) == ("bob", "carol", "dave", "alice")
    assert known(asked, {}) == (False, False, False)
    assert known(asked, {"bob": Sight(("bob",), ROW)}) == (True, False, False)
    assert known(asked, {"alice": Sight(("bob", "carol"), OWN)}) == (True, True, False)


@own
def test_a_message_to_somebody_else_is_not_known_to_a_recipient(kind: Kind) -> None:
    """The own copy is there, but it names carol only."""
    assert known(change(kind, "bob"), {"alice": Sight(("carol",), OWN)}) == (False,)


@own
def test_a_message_to_oneself_is_known(kind: Kind) -> None:
    asked = change(kind, "alice")
    assert looked_into(asked) == ("alice",)
    assert known(asked, {"alice": Sight(("alice",), ROW)}) == (True,)


@own
def test_nothing_is_said_of_what_was_deleted(kind: Kind) -> None:
    assert known(change(kind), {"bob": Sight(("bob",))}) == (False,)
    assert known(change(kind), {"bob": Sight(("bob",)), "alice": Sight(("bob",))}) == (False,)


def test_what_was_deleted_in_one_place_only_is_deleted_again_but_not_edited() -> None:
    """Its own copy was not erased; or it was deleted for somebody else."""
    deleted, own, there = Sight(("bob",)), Sight(("bob",), OWN), Sight(("bob",), ROW)
    for sights in ({"bob": deleted, "alice": own}, {"bob": there, "alice": deleted}):
        assert known(change(Kind.DELETE), sights) == (True,)
        assert known(change(Kind.EDIT), sights) == (False,)
        assert known(change(Kind.REACT), sights) == (False,)


def test_who_has_blocked_the_sender_hears_of_a_deletion_only_where_it_erases_something() -> None:
    asked = change(Kind.DELETE, "bob", "carol", "dave", "erin")
    sights = {"alice": Sight(("bob", "carol", "erin"), OWN), "bob": Sight(("bob",), ROW)}
    assert only_told(asked, sights, {"erin"}) == ("carol", "dave")
    assert only_told(replace(asked, kind=Kind.EDIT), sights, set()) == ()
    found = aimed(asked, sights, {"erin"}, 0, {"carol", "dave"})
    assert found.message.to == ("bob", "erin")
    done = Appended(AppendStatus.APPENDED, Cursor(7, 2))
    refused, unknown = Appended(AppendStatus.REFUSED), Appended(AppendStatus.UNKNOWN)
    assert found.results([done, done]) == [done, refused, unknown, done]


@own
def test_a_change_that_is_there_already_is_answered_as_before(kind: Kind) -> None:
    assert known(change(kind), {}, "bob") == (True,)


def test_a_reaction_to_anothers_message_goes_to_its_sender_only() -> None:
    asked = change(Kind.REACT, "alice", "carol", sender="bob")
    assert looked_into(asked) == ("bob", "alice")
    sights = {"bob": Sight(("bob",), ROW), "alice": Sight(("bob", "carol"), OWN), "carol": Sight(("carol",), ROW)}
    assert known(asked, sights) == (True, False)


def test_a_reaction_to_a_message_that_one_never_got_finds_nothing() -> None:
    asked = change(Kind.REACT, "alice", sender="mallory")
    assert known(asked, {"alice": Sight(("bob",), OWN)}) == (False,)


def test_a_reaction_finds_what_only_the_senders_own_copy_still_knows() -> None:
    assert known(change(Kind.REACT, "alice", sender="bob"), {"alice": Sight(("bob",), OWN)}) == (True,)


def test_a_deletion_erases_in_every_inbox_it_goes_to_and_in_the_senders_own() -> None:
    sights = {"bob": Sight(("bob",), ROW), "carol": Sight(("carol",)), "alice": Sight(("bob", "carol"), OWN)}
    found = aimed(change(Kind.DELETE, "bob", "carol"), sights, set(), 0)
    assert found.message.erases == (("bob", ROW), ("alice", OWN))
    assert aimed(change(Kind.EDIT, "bob"), sights, set(), 0).message.erases == ()
    assert aimed(change(Kind.DELETE, "dave"), sights, set(), 0).message.erases == ()


def test_a_deletion_of_what_one_has_sent_to_oneself_too_erases_once() -> None:
    sights = {"alice": Sight(("alice", "bob"), OWN), "bob": Sight(("bob",), ROW)}
    found = aimed(change(Kind.DELETE, "alice", "bob"), sights, set(), 0)
    assert found.message.erases == (("alice", OWN), ("bob", ROW))


def test_only_those_who_know_the_target_get_the_change_and_all_have_an_answer() -> None:
    found = aimed(change(Kind.EDIT, "bob", "carol", "dave"), {"carol": Sight(("carol",), ROW)}, {"dave"}, 0)
    assert found.message.to == ("carol", "dave")
    done = [Appended(AppendStatus.APPENDED, Cursor(7, 2)), Appended(AppendStatus.DUPLICATE, Cursor(3, 1))]
    assert found.results(done) == [Appended(AppendStatus.UNKNOWN), *done]


@pytest.mark.parametrize(("now_ms", "seconds"), ((0, 9), (8_000, 1), (1_000, 8), (8_999, 1), (9_500, 1)))
def test_what_is_said_of_a_message_that_expires_goes_with_it(now_ms: int, seconds: int) -> None:
    sights = {"bob": Sight(("bob",), ROW, expires=9_000), "alice": Sight(("bob",), OWN, expires=9_001)}
    assert aimed(change(Kind.EDIT), sights, set(), now_ms).message.expires_in == seconds
    assert aimed(change(Kind.DELETE), sights, set(), now_ms).message.expires_in == 0
    plain = {user: replace(sight, expires=None) for user, sight in sights.items()}
    assert aimed(change(Kind.EDIT), plain, set(), now_ms).message.expires_in == 0


def test_a_sight_is_read_off_a_messages_fields() -> None:
    fields = {b"id": b"m1", b"from": b"alice", b"to": b"bob,carol", b"expires": b"99"}
    assert sight_of(Cursor(6, 1), fields) == Sight(("bob", "carol"), "6-1 m1 alice to bob,carol", 99)
    assert sight_of(Cursor(6, 1), fields, deleted=True).deleted
