"""The listening socket."""

import resource
import socket

import pytest

from service.core.errors import Refused
from service.listening import SPARE_FILES, listen, room


def test_it_listens_and_workers_may_inherit_it() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert not listener.getblocking()
        with socket.create_connection(listener.getsockname()):
            pass


def test_connections_wait_in_its_queue_before_anybody_accepts() -> None:
    with listen("127.0.0.1", 0) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(200)]
        for client in clients:
            client.close()


def test_localhost_and_ipv6_are_listened_on_too() -> None:
    listen("localhost", 0).close()
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listen("::1", 0) as listener:
        assert listener.family == socket.AF_INET6


def test_a_taken_port_is_named_with_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Refused, match=rf"Port {port} on 127\.0\.0\.1 is taken.*INBOXD_PORT"):
            listen("127.0.0.1", port)


def test_a_port_that_may_not_be_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", forbidden)
    with pytest.raises(Refused, match="Port 80 may not be opened"):
        listen("127.0.0.1", 80)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(Refused, match=r"Cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0)


# How many connections fit.


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "found", "raised"),
    (
        (100_000, 100_000, 10_000, 10_000, 100_000),
        (1024, 100_000, 10_000, 10_000, 10_000 + SPARE_FILES),
        (1024, 4096, 10_000, 4096 - SPARE_FILES, 4096),
        (1024, 1024, 10_000, 1024 - SPARE_FILES, 1024),
        (256, 256, 10_000, 1, 256),
        (1024, resource.RLIM_INFINITY, 10_000, 10_000, 10_000 + SPARE_FILES),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 10_000, 10_000, resource.RLIM_INFINITY),
        (1024, 1024, 10, 10, 1024),
    ),
)
def test_as_many_connections_are_held_as_files_allow(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int, found: int, raised: int
) -> None:
    limit = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limit[0])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limit.__setitem__(0, pair))
    assert room(wanted) == found
    assert limit == [(raised, hard)]
