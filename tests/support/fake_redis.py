"""fakeredis for contract tests that run twice, here and on a real server."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import fakeredis


class _Scripts(MutableMapping[bytes, bytes]):
    """Scripts by their hash, kept without a first line `#!lua …`, which fakeredis hands to Lua as it is."""

    def __init__(self) -> None:
        self._texts: dict[bytes, bytes] = {}

    def __setitem__(self, sha: bytes, text: bytes) -> None:
        # The line stays as a comment, so that line numbers in errors are right.
        self._texts[sha] = b"--" + text if text.startswith(b"#!") else text

    def __getitem__(self, sha: bytes) -> bytes:
        return self._texts[sha]

    def __delitem__(self, sha: bytes) -> None:
        del self._texts[sha]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


class _Server(fakeredis.FakeServer):
    @property
    def script_cache(self) -> Any:
        return self._scripts

    @script_cache.setter
    def script_cache(self, _: Any) -> None:
        self._scripts = _Scripts()


def fake_client() -> Any:
    """An asyncio client with bytes replies on an empty server of its own; scripts by LOAD and EVALSHA."""
    return fakeredis.FakeAsyncRedis(server=_Server(server_type="valkey"), protocol=2)
