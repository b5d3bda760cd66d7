"""Which keys are taken, for which algorithm, and which are refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from service.edge.signing_keys import MOST_BYTES, UnusableKeyError, key_set, public_key, shared_secret
from tests.support.issuer import Issuer, pem, private_key, private_pem

PAIRS = ("RS256", "ES256", "EdDSA")


def refusal_of_set(*jwks: Any) -> str:
    with pytest.raises(UnusableKeyError) as caught:
        key_set(json.dumps({"keys": jwks}).encode())
    return str(caught.value)


@pytest.mark.parametrize("secret", ("", "short", "x" * 31, "ö" * 15))
def test_a_short_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(UnusableKeyError, match="at least 32") as caught:
        shared_secret(secret)
    assert not secret or secret not in str(caught.value)


def test_a_secret_of_32_bytes_is_taken_for_hs256_and_hidden() -> None:
    key = shared_secret("ö" * 16)
    assert (key.algorithm, key.material) == ("HS256", ("ö" * 16).encode())
    assert "ö" not in repr(shared_secret("ö" * 16))


@pytest.mark.parametrize("algorithm", PAIRS)
def test_a_public_key_is_no_secret(algorithm: str) -> None:
    with pytest.raises(UnusableKeyError, match="INBOXD_JWT_PUBLIC_KEY"):
        shared_secret(pem(private_key(algorithm)))


@pytest.mark.parametrize("algorithm", PAIRS)
def test_the_kind_of_a_public_key_decides_the_algorithm(algorithm: str, tmp_path: Path) -> None:
    text = pem(private_key(algorithm))
    path = tmp_path / "key.pem"
    path.write_text(text)
    assert public_key(text).algorithm == algorithm
    assert public_key(text.replace("\n", "\\n")).algorithm == algorithm
    assert public_key(str(path)).algorithm == algorithm


@pytest.mark.parametrize(
    ("text", "words"),
    (
        (private_pem(private_key("ES256")), "private key"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "certificate"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no public key"),
        ("/nowhere/key.pem", "neither PEM nor a file"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "are taken"),
        (pem(rsa.generate_private_key(65537, 1024)), "2048"),  # noqa: S505 - to be refused
    ),
    ids=("private", "certificate", "garbage", "no_file", "curve", "rsa_1024"),
)
def test_other_keys_are_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(UnusableKeyError, match=words) as caught:
        public_key(text)
    assert "MII" not in str(caught.value)


def test_a_set_gives_its_keys_by_kid_and_algorithm() -> None:
    keys = key_set(json.dumps({"keys": [Issuer(kind, kid=f"k-{kind}").jwk() for kind in PAIRS]}).encode())
    assert [(key.id, key.algorithm) for key in keys] == [(f"k-{kind}", kind) for kind in PAIRS]


@pytest.mark.parametrize("algorithm", PAIRS)
def test_a_set_with_a_private_key_is_refused_as_a_whole(algorithm: str) -> None:
    said = refusal_of_set(Issuer("EdDSA", kid="good").jwk(), Issuer(algorithm).private_jwk())
    assert "private or symmetric" in said


def test_a_set_with_a_symmetric_key_is_refused_as_a_whole() -> None:
    symmetric = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256"}
    said = refusal_of_set(Issuer("EdDSA").jwk(), symmetric)
    assert "private or symmetric" in said
    assert "c2Vj" not in said


@pytest.mark.parametrize(
    "members",
    (
        {"use": "enc"},
        {"alg": "ES384"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"key_ops": ["sign"]},
        {"key_ops": 1},
        {"kty": "other"},
        {"kty": None},
        {"kty": ["EC"]},
        {"crv": "P-384"},
        {"crv": {}},
        {"x": "!!"},
        {"x": 1},
        {"x": ""},
        {"y": None},
        {"kid": 7},
    ),
    ids=str,
)
def test_a_key_of_a_set_that_is_not_for_us_is_passed_over(members: dict[str, Any]) -> None:
    other = Issuer("EdDSA", kid="good").jwk()
    keys = key_set(json.dumps({"keys": [Issuer("ES256", kid="x").jwk(**members), 5, other]}).encode())
    assert [key.id for key in keys] == ["good"]


@pytest.mark.parametrize("raw", (b"", b"{", b"[]", b"{}", b'{"keys": 1}', b"[" * 3000, b"\xff", b"null"))
def test_what_is_no_set_is_refused(raw: bytes) -> None:
    with pytest.raises(UnusableKeyError, match=r"JSON|JWK set"):
        key_set(raw)


def test_a_set_is_bounded_in_bytes_and_keys() -> None:
    with pytest.raises(UnusableKeyError, match="longer"):
        key_set(b" " * (MOST_BYTES + 1))
    with pytest.raises(UnusableKeyError, match="more than 100"):
        key_set(json.dumps({"keys": [{}] * 101}).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("aZ_\x00", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(("kty", "crv", "alg", "use", "kid", "n", "e", "x", "y", "key_ops")),
        JSON | st.sampled_from(("RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "verify")),
    )
)
def test_no_content_of_a_set_is_more_than_refused(jwk: dict[str, Any]) -> None:
    try:
        raw = json.dumps({"keys": [jwk]}).encode()
        assert len(key_set(raw)) <= 1
    except UnusableKeyError:
        pass
