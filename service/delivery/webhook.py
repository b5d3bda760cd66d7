"""One try to tell somebody else's service something: signed as Standard Webhooks has it, and never followed further."""

import asyncio
import base64
import hashlib
import hmac
import ssl
from dataclasses import dataclass

import httpx2

from service.core.push import retry_after
from service.delivery.addresses import CheckedTransport, Resolve, resolve

MOST_READ = 64 << 10
"""Bytes of an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a try ended. `status`: the HTTP status, or a word for what came instead; `why`: for the log. `retry_after`:
    seconds the receiver asked for, 0 for none.
    """

    accepted: bool
    status: str
    why: str = ""
    retry_after: float = 0.0
    content: bytes = b""


def sign(secrets: str, id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature`: one for each secret (`whsec_…`, with spaces between), so that receivers may change."""
    signed = f"{id}.{timestamp}.".encode() + body
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets.split()]
    digests = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


class Webhook:
    """POSTs to one URL. `secrets`: as `sign` takes them; "" for no signature. `timeout`: seconds for everything."""

    def __init__(
        self, url: str, secrets: str, *, timeout: float, private: bool, most: int, resolve: Resolve = resolve
    ) -> None:
        self._url = url
        self._secrets = secrets
        self._timeout = timeout
        self._private = private
        self._most = most
        self._resolve = resolve
        self._client: httpx2.AsyncClient | None = None
        self._making = asyncio.Lock()

    async def _connected(self) -> httpx2.AsyncClient:
        """Made when it is first needed. Takes no proxy: that would look names up itself."""
        async with self._making:
            if self._client is None:
                context = await asyncio.to_thread(ssl.create_default_context)  # reads every CA there is
                limits = httpx2.Limits(max_connections=self._most, max_keepalive_connections=4)
                inner = httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)
                transport = CheckedTransport(inner, private=self._private, resolve=self._resolve)
                self._client = httpx2.AsyncClient(transport=transport, trust_env=False, timeout=self._timeout)
            return self._client

    async def post(self, id: str, body: bytes, now_ms: int) -> Answer:
        """One try. `id` is the same for each try of one thing. Raises nothing: what fails is an answer."""
        headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "inboxd"}
        headers |= {"webhook-id": id, "webhook-timestamp": str(now_ms // 1000)}
        if self._secrets:
            headers["webhook-signature"] = sign(self._secrets, id, now_ms // 1000, body)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._send(headers, body)
        except TimeoutError:
            return Answer(False, "timeout", f"no answer within {self._timeout:.0f} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return Answer(False, type(error).__name__, str(error))

    async def _send(self, headers: dict[str, str], body: bytes) -> Answer:
        client = await self._connected()
        request = client.build_request("POST", self._url, content=body, headers=headers)
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            content = b""
            async for part in response.aiter_raw():
                content += part
                if len(content) > MOST_READ:
                    break
        finally:
            await response.aclose()
        wait = retry_after(response.headers.get("retry-after"))
        return Answer(response.is_success, str(response.status_code), f"HTTP {response.status_code}", wait, content)

    async def aclose(self) -> None:
        """Ends the connections."""
        if self._client is not None:
            await self._client.aclose()
