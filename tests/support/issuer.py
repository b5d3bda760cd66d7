"""Issuers of tokens: keys of every kind, and tokens that are right or wrong in one thing."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import get_default_algorithms

SECRET = "a shared secret of the tests, long enough for HS256"

HOUR = 3600.0


def private_key(algorithm: str, number: int = 0) -> Any:
    """A key for RS256, ES256 or EdDSA; another one for each number."""
    return _made(algorithm, number)


@cache
def _made(algorithm: str, number: int) -> Any:
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    """The public part."""
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private_pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


class Issuer:
    """`kid`: what its tokens and its JWK say."""

    def __init__(self, algorithm: str = "HS256", kid: str | None = None, number: int = 0, secret: str = SECRET) -> None:
        self.algorithm, self.kid = algorithm, kid
        self.key: Any = secret if algorithm == "HS256" else private_key(algorithm, number)

    def token(self, user: Any = "alice", scope: Any = None, lasts: float = HOUR, **claims: Any) -> str:
        """`lasts`: seconds. A claim given as None is left out."""
        content = {"sub": user, "exp": int(time.time() + lasts), "scope": scope} | claims
        content = {name: value for name, value in content.items() if value is not None}
        return self.sign(content)

    def sign(self, content: Any, **header: Any) -> str:
        """Of any content. `header`: fields in place of its own."""
        whole = {"alg": self.algorithm, "typ": "JWT"} | ({"kid": self.kid} if self.kid else {}) | header
        text = f"{encoded(whole)}.{encoded(content)}"
        algorithm = get_default_algorithms()[self.algorithm]
        return f"{text}.{raw(algorithm.sign(text.encode(), algorithm.prepare_key(self.key)))}"

    def jwk(self, **members: Any) -> dict[str, Any]:
        """The public one."""
        found = dict(get_default_algorithms()[self.algorithm].to_jwk(self.key.public_key(), as_dict=True))
        return found | ({"kid": self.kid} if self.kid else {}) | members

    def private_jwk(self) -> dict[str, Any]:
        return dict(get_default_algorithms()[self.algorithm].to_jwk(self.key, as_dict=True))


def key_set(*issuers: Issuer) -> bytes:
    return json.dumps({"keys": [issuer.jwk() for issuer in issuers]}).encode()


def raw(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def encoded(value: Any) -> str:
    """A part of a token; bytes as they are."""
    return raw(value if isinstance(value, bytes) else json.dumps(value).encode())


def unsigned(content: Any, algorithm: Any = "none", signature: str = "") -> str:
    return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(content)}.{signature}"


def confused(user: str, public_pem: str) -> str:
    """Signed with HS256, the public key taken for a secret."""
    text = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded({'sub': user, 'exp': int(time.time() + HOUR)})}"
    return f"{text}.{raw(hmac.new(public_pem.encode(), text.encode(), hashlib.sha256).digest())}"


def claims_of(token: str) -> dict[str, Any]:
    """Unverified."""
    return dict(jwt.decode(token, options={"verify_signature": False}))
