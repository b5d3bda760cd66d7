"""What the parent says about keys that will not do, before it starts anything."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.config import Settings
from service.core.errors import Refused
from service.edge.configured_keys import check_keys, keys_of
from service.edge.key_sources import KeySet, OneKey
from tests.support.issuer import SECRET, Issuer, key_set, pem, private_key, private_pem


def jwt(**settings: Any) -> Settings:
    return Settings(auth="jwt", **settings)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(Issuer("ES256", kid="one")))
    return path


def test_each_way_of_the_settings_gives_its_keys(published: Path) -> None:
    assert isinstance(keys_of(jwt(jwt_secret=SECRET)), OneKey)
    assert isinstance(keys_of(jwt(jwt_public_key=pem(private_key("RS256")))), OneKey)
    assert isinstance(keys_of(jwt(jwks_url=str(published))), KeySet)
    assert isinstance(keys_of(jwt(jwks_url="https://issuer.example/keys")), KeySet)


def test_good_keys_are_nothing_to_talk_about(published: Path) -> None:
    for settings in (
        Settings(),
        jwt(jwt_secret=SECRET),
        jwt(jwks_url=published.as_uri()),
        jwt(jwks_url="https://user:password@issuer.example/keys"),  # not asked for: it may be down now
    ):
        check_keys(settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    (
        ({"jwt_secret": "hunter2"}, "INBOXD_JWT_SECRET will not do: it has 7 bytes"),
        ({"jwt_secret": pem(private_key("ES256"))}, "INBOXD_JWT_PUBLIC_KEY"),
        (
            {"jwt_public_key": private_pem(private_key("ES256"))},
            "INBOXD_JWT_PUBLIC_KEY will not do: it holds a private",
        ),
        ({"jwt_public_key": "/nowhere"}, "neither PEM nor a file"),
        ({"jwks_url": "ftp://user:hunter2@h/keys"}, "INBOXD_JWKS_URL will not do"),
        ({"jwks_url": "/nowhere"}, "No such file"),
    ),
    ids=("short", "public_as_secret", "private", "no_pem", "scheme", "no_set"),
)
def test_others_are_refused_with_the_settings_name_and_without_the_secret(settings: dict[str, str], words: str) -> None:
    with pytest.raises(Refused) as caught:
        check_keys(jwt(**settings))
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    (
        ("{}", "no JWK set"),
        ('{"keys": []}', "no key for"),
        (json.dumps({"keys": [Issuer("ES256").private_jwk()]}), "private or symmetric"),
    ),
    ids=("no_set", "empty", "private"),
)
def test_a_file_that_will_not_do_is_refused_at_once(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(Refused, match=words):
        check_keys(jwt(jwks_url=str(path)))
