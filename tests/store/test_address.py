"""Addresses: what a URL says."""

import pytest
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from service.store.address import Kind, parse


def test_one_server_is_read_as_its_client_library_reads_it() -> None:
    address = parse("redis://chat:p%40ss@h:7000/3?health_check_interval=5")
    assert (address.kind, address.nodes, address.connection_class) == (Kind.ONE, (), Connection)
    assert address.options == {
        "host": "h", "port": 7000, "db": 3, "username": "chat", "password": "p@ss", "health_check_interval": 5,
    }  # fmt: skip


def test_without_a_url_it_is_the_usual_port_of_this_machine() -> None:
    assert parse(None).options == {"host": "127.0.0.1", "port": 6379, "db": 0}


def test_a_path_is_a_socket_of_this_machine() -> None:
    address = parse("unix:///run/valkey.sock")
    assert (address.options["path"], address.connection_class) == ("/run/valkey.sock", UnixDomainSocketConnection)


def test_a_group_has_sentinels_and_a_name() -> None:
    address = parse("redis+sentinel://chat:word@h1:5000,h2,[::1]:5001/mine?sentinel_password=other&db=2")
    assert (address.kind, address.group) == (Kind.SENTINEL, "mine")
    assert address.nodes == (("h1", 5000), ("h2", 26379), ("::1", 5001))
    assert address.options == {"username": "chat", "password": "word", "db": 2}
    assert address.sentinel_options == {"password": "other"}


@pytest.mark.parametrize("tail", ("", "/", "?ssl_ca_certs=ca.pem", "/?ssl_ca_certs=ca.pem"))
def test_a_cluster_has_nodes(tail: str) -> None:
    address = parse(f"rediss+cluster://:word@h1:7000,h2:7001{tail}")
    assert (address.kind, address.nodes, address.tls) == (Kind.CLUSTER, (("h1", 7000), ("h2", 7001)), True)
    assert address.connection_class is SSLConnection
    assert address.options == {"password": "word"} | ({"ssl_ca_certs": "ca.pem"} if "?" in tail else {})


@pytest.mark.parametrize(
    ("url", "words"),
    (
        ("redis+sentinel://:secret@h1:5000", "names the group"),
        ("redis+cluster://:secret@", "at least one host"),
        ("redis+cluster://:secret@h1:x", "no number"),
    ),
)
def test_what_is_missing_is_said_without_the_password(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse(url)
    assert "secret" not in str(caught.value)
