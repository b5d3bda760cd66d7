"""Where a push may go: not into the network that the service stands in, unless that was asked for.

A name is resolved here, every address it has is judged, and the connection goes to one of those: whoever owns the name
cannot give another answer in between.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx2

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_NAMES = ThreadPoolExecutor(4, "names")
"""Threads of its own: a name server that hangs must not take those that everything else shares."""
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


class PrivateAddressError(httpx2.TransportError):
    """The name leads to an address that is not on the public internet."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet. What only wraps an IPv4 address is judged by that."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _TRANSLATED:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        elif ip not in _GLOBAL_UNICAST or ip.sixtofour is not None or ip.teredo is not None:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, best first. Raises OSError."""
    lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_NAMES, lookup)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


class CheckedTransport(httpx2.AsyncBaseTransport):
    """Sends each request to an address that was judged; `private`: any will do. TLS and `Host` stay of the name."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, *, private: bool, resolve: Resolve = resolve) -> None:
        self._inner = inner
        self._private = private
        self._resolve = resolve

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises PrivateAddressError, and what a transport raises."""
        host = request.url.host
        try:
            addresses = await self._resolve(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        except OSError as error:
            raise httpx2.ConnectError(f"{host} has no address: {error}") from error
        if not self._private and (odd := [one for one in addresses if not is_public(one)]):
            raise PrivateAddressError(f"{host} leads to {odd[0]}, which is not on the public internet")
        for left, address in enumerate(addresses, 1 - len(addresses)):
            try:
                return await self._inner.handle_async_request(_to(address, request, host, len(addresses)))
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if not left:
                    raise
        raise httpx2.ConnectError(f"{host} has no address")

    async def aclose(self) -> None:
        await self._inner.aclose()


def _to(address: str, request: httpx2.Request, host: str, of: int) -> httpx2.Request:
    """One of so many: where nobody answers there, time is left for the others, and for the answer."""
    timeout = dict(request.extensions.get("timeout", {}))
    if of > 1 and timeout.get("connect") is not None:
        timeout["connect"] /= of + 1
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,  # `Host` among them
        stream=request.stream,
        extensions={**request.extensions, "timeout": timeout, "sni_hostname": host},
    )
