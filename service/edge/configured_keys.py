"""The keys that the settings name. Imported by the parent too: no web framework here."""

from pathlib import Path

from service.config import Settings
from service.core.errors import Refused
from service.edge.key_sources import KeySet, KeySource, OneKey, fetcher, file_of, read_file
from service.edge.signing_keys import UnusableKeyError, key_set, public_key, shared_secret


def keys_of(settings: Settings) -> KeySource:
    """Raises Refused for a key that will not do."""
    try:
        if settings.jwt_secret is not None:
            return OneKey(shared_secret(settings.jwt_secret))
        if settings.jwt_public_key is not None:
            return OneKey(public_key(settings.jwt_public_key))
        assert settings.jwks_url is not None  # by the settings' own rule
        return KeySet(fetcher(settings.jwks_url))
    except UnusableKeyError as error:
        name = next(name for name in ("jwt_secret", "jwt_public_key", "jwks_url") if getattr(settings, name))
        raise Refused(f"INBOXD_{name.upper()} will not do: {error}.") from None


def check_keys(settings: Settings) -> None:
    """For the parent, before it starts anything. Raises Refused. A set on another machine is not asked for: that
    may be down now, and up when the first token comes.
    """
    if settings.auth == "jwt":
        keys_of(settings)
    path = file_of(settings.jwks_url) if settings.jwks_url is not None else None
    if path is not None:
        _check_file(path)


def _check_file(path: Path) -> None:
    try:
        usable = key_set(read_file(path))
    except (OSError, UnusableKeyError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Refused(f"INBOXD_JWKS_URL will not do: {path}: {why}.") from None
    if not usable:
        raise Refused(f"INBOXD_JWKS_URL will not do: {path} has no key for RS256, ES256 or EdDSA.")
