"""Keys that tokens are checked with. The kind of key decides the one algorithm it is good for, never the token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError, PyJWTError

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
SHORTEST_SECRET = 32
"""Bytes; a shorter HS256 secret than its hash can be searched for (RFC 7518, 3.2)."""
RSA_BITS = range(2048, 8193)
MOST_KEYS = 100
MOST_BYTES = 256 << 10
"""Of a PEM file or a key set."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_OF_JWK = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_SECRET_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
"""Of a JWK: what makes it a private or a symmetric key."""


class UnusableKeyError(ValueError):
    """The text says why, and shows nothing of the key."""


@dataclass(frozen=True, slots=True)
class Key:
    """`algorithm`: the only one it is used with. `id`: the `kid` of its set."""

    algorithm: str
    material: bytes | PublicKey = field(repr=False)
    id: str | None = None


def shared_secret(secret: str) -> Key:
    """For HS256. Raises UnusableKeyError."""
    raw = secret.encode()
    if len(raw) < SHORTEST_SECRET:
        raise UnusableKeyError(
            f"it has {len(raw)} bytes; at least {SHORTEST_SECRET} are needed, such as those of `openssl rand -hex 32`"
        )
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(raw)
    except InvalidKeyError:
        raise UnusableKeyError("it is a key of a pair, and public ones are no secret: INBOXD_JWT_PUBLIC_KEY") from None
    return Key("HS256", raw)


def public_key(text: str) -> Key:
    """From PEM text, on one line where that is easier to pass, or the path of a file. Raises UnusableKeyError."""
    pem = text.replace("\\n", "\n").encode() if "-----BEGIN" in text else _read(Path(text))
    if b"PRIVATE KEY" in pem:
        raise UnusableKeyError("it holds a private key, which only the issuer of tokens may have: give the public part")
    if b"CERTIFICATE" in pem:
        raise UnusableKeyError("it is a certificate: `openssl x509 -pubkey -noout` writes the public key in it")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKeyError("it is no public key in PEM") from None
    return Key(algorithm_of(key), _known(key))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise UnusableKeyError(f"it is neither PEM nor a file that can be read ({error.strerror})") from None


def _known(key: object) -> PublicKey:
    algorithm_of(key)
    assert isinstance(key, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey)  # or it has no algorithm
    return key


def algorithm_of(key: object) -> str:
    """Raises UnusableKeyError for a key of a kind or size that is not taken."""
    if isinstance(key, RSAPublicKey) and key.key_size in RSA_BITS:
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    if isinstance(key, Ed25519PublicKey):
        return "EdDSA"
    raise UnusableKeyError("RSA of 2048 to 8192 bits, EC P-256 and Ed25519 keys are taken; it is another one")


def key_set(raw: bytes) -> tuple[Key, ...]:
    """The keys of a JWK set (RFC 7517) that can check signatures here; others are passed over.

    Raises UnusableKeyError for what is no key set, and for one with private or symmetric keys: it is not meant
    to be published, so whoever could read it can make tokens.
    """
    if len(raw) > MOST_BYTES:
        raise UnusableKeyError(f"it is longer than {MOST_BYTES} bytes")
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise UnusableKeyError("it is not JSON") from None
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise UnusableKeyError("it is no JWK set: an object with the list `keys`")
    if len(listed) > MOST_KEYS:
        raise UnusableKeyError(f"it lists more than {MOST_KEYS} keys")
    members = [jwk for jwk in listed if isinstance(jwk, dict)]
    if any(jwk.get("kty") == "oct" or _SECRET_MEMBERS & set(jwk) for jwk in members):
        raise UnusableKeyError("it holds a private or symmetric key; a key set is public, so that key is none any more")
    return tuple(key for key in map(_of_jwk, members) if key is not None)


def _of_jwk(jwk: Mapping[str, Any]) -> Key | None:
    """None: not for us."""
    curve = jwk.get("crv")
    algorithm = _OF_JWK.get((str(jwk.get("kty")), curve if isinstance(curve, str) else None))
    operations = jwk.get("key_ops", ["verify"])
    if (
        algorithm is None
        or jwk.get("alg", algorithm) != algorithm
        or jwk.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
        or not isinstance(jwk.get("kid"), str | None)
    ):
        return None
    try:
        material = PyJWK(dict(jwk), algorithm).key
        return Key(algorithm, _known(material), jwk.get("kid")) if algorithm_of(material) == algorithm else None
    except (PyJWTError, ValueError, TypeError, LookupError, OverflowError):
        return None
