"""A published set of keys: when it is fetched, by whom, and what a failure leaves behind."""

import asyncio
from pathlib import Path

import pytest

from service.core.errors import ClientError
from service.edge.key_sources import KeySet, OneKey, fetcher, file_of
from service.edge.signing_keys import UnusableKeyError, shared_secret
from tests.support.issuer import SECRET, Issuer, key_set

ONE, TWO, OTHER = (
    Issuer("EdDSA", kid="one"),
    Issuer("EdDSA", kid="two", number=1),
    Issuer("ES256", kid="other"),
)


class Publisher:
    """Answers with what `answer` says, an exception too, as soon as `open` is set."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.fetches = 0
        self.now = 1000.0
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self) -> bytes:
        self.fetches += 1
        await self.open.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def keys(self) -> KeySet:
        return KeySet(self.fetch, clock=lambda: self.now, floor=10, fresh=300)


async def found(keys: KeySet, kid: str | None, algorithm: str = "EdDSA") -> bool:
    return await keys.find(algorithm, kid) is not None


async def settled(keys: KeySet) -> None:
    """No fetch is under way any more."""
    if keys._fetching is not None:
        await asyncio.wait((keys._fetching,))
    await asyncio.sleep(0)


async def test_nothing_is_fetched_before_it_is_needed_and_then_once() -> None:
    publisher = Publisher(key_set(ONE))
    keys = publisher.keys()
    assert publisher.fetches == 0
    assert all(await asyncio.gather(*(found(keys, "one") for _ in range(20))))
    assert publisher.fetches == 1


async def test_an_unknown_kid_is_looked_for_but_not_more_often_than_the_floor_allows() -> None:
    publisher = Publisher(key_set(ONE))
    keys = publisher.keys()
    assert await found(keys, "one")
    publisher.answer = key_set(ONE, TWO)
    assert not await found(keys, "two")  # too soon after the last fetch
    assert publisher.fetches == 1
    publisher.now += 10
    assert await found(keys, "two")
    assert publisher.fetches == 2
    for number in range(50):
        assert not await found(keys, f"made-up-{number}")
    assert publisher.fetches == 2


async def test_a_set_that_is_no_longer_fresh_is_fetched_beside_its_use() -> None:
    publisher = Publisher(key_set(ONE))
    keys = publisher.keys()
    assert await found(keys, "one")
    publisher.answer, publisher.now = key_set(TWO), publisher.now + 300
    publisher.open.clear()
    assert await found(keys, "one")  # at once, though the fetch has no answer yet
    publisher.open.set()
    await settled(keys)
    assert publisher.fetches == 2
    assert not await found(keys, "one")
    assert await found(keys, "two")
    assert keys.generation == 2


@pytest.mark.parametrize(
    "failure",
    (OSError("no"), TimeoutError(), UnusableKeyError("HTTP 500"), RuntimeError("a bug"), b"nonsense", b"{}"),
    ids=repr,
)
async def test_a_fetch_that_fails_leaves_the_keys_as_they_are(failure: bytes | Exception) -> None:
    publisher = Publisher(key_set(ONE))
    keys = publisher.keys()
    assert await found(keys, "one")
    publisher.answer, publisher.now = failure, publisher.now + 300
    assert await found(keys, "one")
    await settled(keys)
    assert publisher.fetches == 2
    assert await found(keys, "one")
    assert keys.problem() is None
    with pytest.raises(ClientError) as caught:  # it may be a new one: nobody can know
        await found(keys, "two")
    assert caught.value.fault.code == "unavailable"
    publisher.answer, publisher.now = key_set(TWO), publisher.now + 10
    assert await found(keys, "two")


async def test_a_set_with_private_keys_is_a_failure() -> None:
    publisher = Publisher(b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}')
    keys = publisher.keys()
    with pytest.raises(ClientError):
        await found(keys, "one")
    assert keys.problem() is not None


async def test_without_any_keys_nobody_is_told_that_his_token_is_wrong() -> None:
    publisher = Publisher(OSError("no route"))
    keys = publisher.keys()
    for _ in range(3):
        with pytest.raises(ClientError) as caught:
            await found(keys, "one")
        assert caught.value.fault.code == "unavailable"
        assert "no route" not in caught.value.fault.detail
    assert publisher.fetches == 1
    assert "have not come" in str(keys.problem())
    publisher.answer, publisher.now = key_set(ONE), publisher.now + 10
    assert keys.problem() is not None  # but it has begun a fetch
    await settled(keys)
    assert keys.problem() is None


async def test_a_set_without_a_usable_key_lets_nobody_in_and_is_a_problem() -> None:
    keys = Publisher(b'{"keys": []}').keys()
    assert not await found(keys, "one")
    assert "no key" in str(keys.problem())


async def test_a_token_without_kid_is_understood_where_one_key_can_be_meant() -> None:
    assert await found(Publisher(key_set(ONE, OTHER)).keys(), None)
    assert not await found(Publisher(key_set(ONE, TWO)).keys(), None)
    assert not await found(Publisher(key_set(ONE)).keys(), None, "RS256")
    assert not await found(Publisher(key_set(ONE)).keys(), "one", "ES256")


async def test_who_stops_waiting_does_not_end_the_fetch_for_the_others() -> None:
    publisher = Publisher(key_set(ONE))
    publisher.open.clear()
    keys = publisher.keys()
    first, second = (asyncio.create_task(keys.find("EdDSA", "one")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    publisher.open.set()
    assert await second is not None
    assert publisher.fetches == 1


async def test_one_key_fits_its_algorithm_whatever_the_kid() -> None:
    key = OneKey(shared_secret(SECRET))
    assert await key.find("HS256", "anything") is not None
    assert await key.find("HS256", None) is not None
    assert await key.find("RS256", None) is None
    assert key.problem() is None


async def test_a_file_is_read_by_its_path_or_its_url(tmp_path: Path) -> None:
    path = tmp_path / "the keys.json"
    path.write_bytes(key_set(ONE))
    for name in (str(path), path.as_uri()):
        assert file_of(name) == path
        assert await fetcher(name)() == key_set(ONE)


@pytest.mark.parametrize("url", ("ftp://h/k", "redis://h", "http://", "https:///keys", "http://[::1", "http://h:port/"))
def test_other_urls_are_refused_without_being_shown(url: str) -> None:
    with pytest.raises(UnusableKeyError) as caught:
        fetcher(url)
    assert url not in str(caught.value)
