"""The opening of a WebSocket: the handshake, by the library and through ASGI, as uvicorn has it. Then a `Socket` takes
over. All that the handshake needed is let go with it: the request, its scope, the layers of the application.
"""

from typing import Any, cast

import orjson
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from service.core.errors import Fault
from service.edge.headers import RAW
from service.edge.problems import MEDIA_TYPE, problem
from service.edge.ws_protocol import Socket, bound_silence

EXTENSION = "inboxd.opening"
"""ASGI extension under which the endpoint finds its socket."""

_FAULTS = {
    400: Fault("malformed_request", "this is no WebSocket handshake (RFC 6455)"),
    405: Fault("method_not_allowed", "a WebSocket is opened with GET"),
    431: Fault("head_too_large", "a handshake has at most 128 fields of 8 KiB each"),
}
"""What the library says about a handshake that is none, in words that repeat nothing of it."""


class Handshake(ServerProtocol):
    """The wire, with the fields that every HTTP answer has on those that refuse a handshake."""

    def send_response(self, response: Response) -> None:
        if (fault := _FAULTS.get(response.status_code)) is not None:
            response.body = orjson.dumps(problem(fault))
            fields = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(response.body))}
            for field, text in (fields | ({"Allow": "GET"} if response.status_code == 405 else {})).items():
                del response.headers[field]
                response.headers[field] = text
        if response.status_code != 101:
            for name, value in RAW:
                response.headers[name.decode()] = value.decode()
        super().send_response(response)


class Opening(WebSocketsSansIOProtocol):
    """A connection from its request to its acceptance or refusal. `socket`: None until it is accepted, and where the
    peer was gone by then.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = Handshake(max_size=self.config.ws_max_size, logger=self.logger)
        self.socket: Socket | None = None
        self._server = cast("Any", kwargs["server_state"])
        self._early = b""  # frames that did not wait for the answer

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.ping_interval:
            bound_silence(transport, 2 * self.ping_interval)

    def check_handshake(self, otherwise: bytes) -> None:
        """Called with the whole handshake: where it is none, uvicorn would wait for ever. `otherwise`: what is said
        where the library says nothing.
        """
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()) or otherwise)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated:
            self._early += data
            self.transport.pause_reading()
        else:
            super().data_received(data)  # the request, whole and nothing else

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            # The endpoint's task has been made but has not run yet.
            cast("dict[str, Any]", self.scope["extensions"])[EXTENSION] = self

    async def run_asgi(self) -> None:
        """As uvicorn's, but that the application returns while the connection lives on."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("a handshake has failed")
            self.send_500_response()
            if self.socket is not None:
                self.socket.end(1011, "internal")
        if self.socket is None:
            self.transport.close()
        self._let_go()

    def _let_go(self) -> None:
        """Of what points back here: else it would stay until the collector comes, which is seldom."""
        self.scope["extensions"].clear()
        self.conn.parser.close()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept" and self.handshake_complete and not self.transport.is_closing():
            self._open()

    def _open(self) -> None:
        self.connections.discard(self)
        self.stop_keepalive()
        self.socket = Socket(self.transport, self._server, self.config.ws_max_size, self.ping_interval)
        self.transport.set_protocol(self.socket)
        if self._early:
            self.transport.resume_reading()
            self.socket.data_received(self._early)


def socket_of(scope: Any) -> Socket | None:
    """The socket behind a WebSocket scope that was accepted; None: the peer is gone. Raises TypeError under another
    server.
    """
    found = scope.get("extensions", {}).get(EXTENSION)
    if not isinstance(found, Opening):
        raise TypeError("run this under `inboxd serve`: its WebSocket engine is needed")
    return found.socket
