"""Which tokens are taken, whose they are, and what a refusal says. No socket, no clock."""

import time
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.errors import ClientError
from service.core.identity import CHAT, OPS, SEND_ANY
from service.edge.key_sources import OneKey
from service.edge.problems import Denied
from service.edge.signing_keys import public_key, shared_secret
from service.edge.tokens import LEEWAY, LONGEST, Tokens
from tests.support.issuer import HOUR, SECRET, Issuer, confused, encoded, pem, private_key, raw, unsigned

ALL_KINDS = ("HS256", "RS256", "ES256", "EdDSA")
ISSUER = Issuer()


def tokens(algorithm: str = "HS256", **settings: Any) -> Tokens:
    key = shared_secret(SECRET) if algorithm == "HS256" else public_key(pem(private_key(algorithm)))
    return Tokens(OneKey(key), **settings)


async def refusal(token: str, checker: Tokens | None = None) -> str:
    """What is said of a token that is refused; nothing of it is shown."""
    with pytest.raises(Denied) as caught:
        await (checker or tokens()).identify(token)
    fault = caught.value.fault
    assert fault.code == "unauthenticated"
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    assert not token or token not in str(caught.value)
    assert SECRET not in str(caught.value)
    return fault.detail


@pytest.mark.parametrize("algorithm", ALL_KINDS)
async def test_a_token_names_its_user_and_scopes(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    token = issuer.token("bob", "chat ops", exp=2**33)
    identity = await tokens(algorithm).identify(token)
    assert (identity.user, identity.expires) == ("bob", 2**33)
    assert identity.scopes == {CHAT, OPS}
    assert identity.token


@pytest.mark.parametrize(
    ("scope", "scopes"),
    (
        (None, {CHAT}),
        ("", set()),
        ("chat", {CHAT}),
        ("send:any", {SEND_ANY}),
        ("openid chat  profile send:any", {CHAT, SEND_ANY}),
        ("CHAT", set()),
        ("chat,ops", set()),
        ("chat\tops", set()),
    ),
)
async def test_scopes_are_a_list_with_spaces_and_chat_when_absent(scope: str | None, scopes: set[str]) -> None:
    assert (await tokens().identify(ISSUER.token("bob", scope))).scopes == scopes


@pytest.mark.parametrize(
    ("claims", "words"),
    (
        ({"exp": None}, "no exp"),
        ({"sub": None}, "no sub"),
        ({"exp": 1}, "expired"),
        ({"exp": int(time.time()) - 1}, "expired"),
        ({"exp": "9999999999"}, "no time"),
        ({"exp": True}, "expired"),
        ({"exp": [9999999999]}, "cannot be read"),
        ({"exp": 1e300}, "no time"),
        ({"exp": 2**80}, "no time"),
        ({"exp": float("inf")}, "cannot be read"),
        ({"exp": float("nan")}, "cannot be read"),
        ({"sub": "no name"}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 129}, "sub"),
        ({"sub": "bob\n"}, "sub"),
        ({"sub": 7}, "cannot be read"),
        ({"sub": ["bob"]}, "cannot be read"),
        ({"nbf": int(time.time() + HOUR)}, "not valid yet"),
        ({"iat": int(time.time() + HOUR)}, "not valid yet"),
        ({"nbf": "soon"}, "cannot be read"),
        ({"scope": ["chat"]}, "no text"),
        ({"scope": 1}, "no text"),
        ({"aud": "somebody"}, "another audience"),
    ),
    ids=lambda value: f"{[*value]} by the clock" if "17" in str(value) else str(value),  # the same in every run
)
async def test_a_claim_at_fault_is_named(claims: dict[str, Any], words: str) -> None:
    assert words in await refusal(ISSUER.token(**{"user": "bob", **claims}))


async def test_an_issuers_clock_may_be_a_little_ahead() -> None:
    soon = int(time.time() + LEEWAY / 2)
    assert (await tokens().identify(ISSUER.token("bob", nbf=soon, iat=soon))).user == "bob"


@pytest.mark.parametrize(("audience", "fits"), (("chat", True), (["x", "chat"], True), ("x", False), (None, False)))
async def test_a_wanted_audience_must_be_named(audience: Any, fits: bool) -> None:
    checker, token = tokens(audience="chat"), ISSUER.token("bob", aud=audience)
    if fits:
        assert (await checker.identify(token)).user == "bob"
    else:
        assert "aud" in await refusal(token, checker)


@pytest.mark.parametrize(("issuer", "fits"), (("me", True), ("you", False), (None, False), (["me"], False)))
async def test_a_wanted_issuer_must_be_named(issuer: Any, fits: bool) -> None:
    checker, token = tokens(issuer="me"), ISSUER.token("bob", iss=issuer)
    if fits:
        assert (await checker.identify(token)).user == "bob"
    else:
        assert await refusal(token, checker)


# Algorithms.


@pytest.mark.parametrize("mine", ALL_KINDS)
@pytest.mark.parametrize("theirs", ALL_KINDS)
async def test_a_key_is_good_for_its_own_algorithm_alone(mine: str, theirs: str) -> None:
    token = Issuer(theirs).token("bob")
    if mine == theirs:
        assert (await tokens(mine).identify(token)).user == "bob"
    else:
        assert "no key fits" in await refusal(token, tokens(mine))


@pytest.mark.parametrize("algorithm", ("RS256", "ES256", "EdDSA"))
async def test_a_public_key_cannot_be_used_as_a_shared_secret(algorithm: str) -> None:
    public = pem(private_key(algorithm))
    for text in (public, public.strip(), public.replace("\n", "")):
        assert await refusal(confused("bob", text), tokens(algorithm))


NAMES = ("none", "None", "NONE", "", None, 0, ["HS256"], {"a": 1}, "HS512", "ES256K", "PS256")


@pytest.mark.parametrize("algorithm", ALL_KINDS)
@pytest.mark.parametrize("name", NAMES, ids=repr)
async def test_no_other_algorithm_is_taken(algorithm: str, name: Any) -> None:
    claims = {"sub": "bob", "exp": 2**33}
    assert "algorithm" in await refusal(unsigned(claims, name), tokens(algorithm))
    assert "algorithm" in await refusal(Issuer(algorithm).sign(claims, alg=name), tokens(algorithm))


@pytest.mark.parametrize("algorithm", ALL_KINDS)
async def test_a_changed_token_is_refused(algorithm: str) -> None:
    head, _, signature = Issuer(algorithm).token("bob").split(".")
    other = encoded({"sub": "root", "exp": 2**33, "scope": "chat ops"})
    assert "signature" in await refusal(f"{head}.{other}.{signature}", tokens(algorithm))
    for wrong in ("", raw(b"\0" * 64), raw(b"\0" * 32), signature[:-8]):
        assert await refusal(f"{head}.{other}.{wrong}", tokens(algorithm))


async def test_another_key_of_the_same_kind_is_refused() -> None:
    assert "signature" in await refusal(Issuer("ES256", number=1).token("bob"), tokens("ES256"))
    assert "signature" in await refusal(Issuer(secret="another secret of at least 32 bytes").token("bob"))


async def test_a_key_in_the_token_itself_is_not_believed() -> None:
    stranger = Issuer("ES256", number=2)
    token = stranger.sign({"sub": "bob", "exp": 2**33}, jwk=stranger.jwk(), jku="https://evil.example", x5c=["x"])
    assert "signature" in await refusal(token, tokens("ES256"))


# Hostile tokens.


DEEP = b"[" * 3000 + b"]" * 3000


@pytest.mark.parametrize(
    "token",
    (
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a" * LONGEST,
        "." * LONGEST,
        "a" * 2_000_000,
        "é.é.é",
        "\ud800",
        "\0",
        f"{encoded(DEEP)}.{encoded({})}.{raw(b'x')}",
        f"{encoded(b'{' + bytes([34]) + b'alg' + bytes([34]) + b':')}..",
        f"{encoded([1])}.{encoded({})}.",
        f"{encoded({'alg': 'HS256', 'kid': 7})}.{encoded({})}.{raw(b'x')}",
        f"{encoded({'alg': 'HS256', 'crit': ['exp']})}.{encoded({})}.{raw(b'x')}",
        f"{urlsafe_b64encode(b'{}').decode()}.e30.",
        ISSUER.sign(DEEP),
        ISSUER.sign(b"\xff"),
        ISSUER.sign([]),
        ISSUER.sign(None),
        ISSUER.sign("text"),
        ISSUER.sign(b'{"sub":"bob","exp":' + b"9" * 5000 + b"}"),
        ISSUER.sign({"sub": "bob", "exp": 2**33}, b64=False, crit=["b64"]),
        ISSUER.sign({"sub": "bob", "exp": 2**33}, crit=["unknown"]),
        f" {ISSUER.token()} x",
        ISSUER.token() + ".",
        ISSUER.token() + "!",
        ISSUER.token().replace(".", ".!", 1),
        ISSUER.token("x" * LONGEST),
    ),
    ids=range(30),
)
async def test_a_hostile_token_is_refused_in_words(token: str) -> None:
    assert await refusal(token)


@given(
    st.text(max_size=200)
    | st.lists(st.binary(max_size=40), min_size=3, max_size=3).map(lambda p: ".".join(map(raw, p)))
)
def test_no_text_is_more_than_refused(token: str) -> None:
    checking = tokens().identify(token)
    with pytest.raises(ClientError):
        checking.send(None)  # nothing to wait for: it ends at once


# What is remembered.


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Counting(OneKey):
    """Counts how often a key is asked for: once for each signature that is checked."""

    asked = 0

    async def find(self, algorithm: str, kid: str | None) -> Any:
        self.asked += 1
        return await super().find(algorithm, kid)


async def test_a_verified_token_is_checked_once_and_until_it_expires() -> None:
    keys, clock = Counting(shared_secret(SECRET)), Clock()
    checker = Tokens(keys, clock=clock)
    token = ISSUER.token("bob", exp=clock.now + 10)
    assert [await checker.identify(token) for _ in range(3)] == [await checker.identify(token)] * 3
    assert keys.asked == 1
    clock.now += 10
    assert "expired" in await refusal(token, checker)
    assert not checker._known


async def test_what_is_remembered_is_bounded_and_is_not_the_token() -> None:
    keys = Counting(shared_secret(SECRET))
    checker = Tokens(keys, remembered=3)
    made = [ISSUER.token(f"u{number}") for number in range(5)]
    for token in made:
        await checker.identify(token)
    assert len(checker._known) == 3
    await checker.identify(made[4])
    assert keys.asked == 5
    await checker.identify(made[0])
    assert keys.asked == 6
    assert all(token not in repr(checker._known) and token not in repr(checker) for token in made)


async def test_a_refused_token_is_not_remembered() -> None:
    checker = tokens()
    assert await refusal(unsigned({"sub": "bob"}), checker)
    assert await refusal(Issuer(secret="another secret of at least 32 bytes").token(), checker)
    assert not checker._known


async def test_other_keys_make_everything_forgotten() -> None:
    keys = Counting(shared_secret(SECRET))
    checker = Tokens(keys)
    token = ISSUER.token()
    await checker.identify(token)
    keys.generation += 1
    await checker.identify(token)
    assert keys.asked == 2
