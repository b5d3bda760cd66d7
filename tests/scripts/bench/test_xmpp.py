"""The XMPP client of the benchmark against scripted servers, and ejabberd itself where it is installed."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from scripts.bench.peers.ejabberd import Ejabberd
from scripts.bench.peers.xmpp import XmppClient
from scripts.bench.peers.xmpp_wire import Element, Elements
from scripts.lab.timing import PATIENCE
from tests.scripts.bench.seen import Seen

STREAM = (
    b"<?xml version='1.0'?><stream:stream id='1' version='1.0' xml:lang='en' xmlns:stream='http://etherx.jabber.org/"
    b"streams' from='localhost' xmlns='jabber:client'><stream:features><bind xmlns='b'/></stream:features>"
)
MESSAGE = (
    b"<message xml:lang='en' to='bob@localhost/bench' from='alice@localhost/bench' type='chat' id='%b'>%b</message>"
)
BODY = b"<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/><body>hi</body>"
ANSWERED = b"<a xmlns='urn:xmpp:sm:3' h='%d'/>"
ASKED = b"<r xmlns='urn:xmpp:sm:3'/>"


class Line:
    """A scripted server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def hear(self, *ends: bytes) -> bytes:
        """All up to each of these in turn."""
        async with asyncio.timeout(PATIENCE):
            return b"".join([await self._reader.readuntil(end) for end in ends])

    def say(self, *words: bytes) -> None:
        self._writer.write(b"".join(words))

    async def ends(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readuntil(b"</stream:stream>")

    def cut(self) -> None:
        self._writer.transport.abort()

    async def let_in(self) -> None:
        """Up to where a session is to begin."""
        await self.hear(b"streams'>")
        self.say(STREAM)
        await self.hear(b"</auth>")
        self.say(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        await self.hear(b"streams'>")
        self.say(STREAM)

    async def begin(self, session: bytes = b"s1") -> bytes:
        """A new session; what the client said after `<enable/>`."""
        await self.hear(b"</iq>", b"/>")
        self.say(b"<iq type='result' id='bind'><bind><jid>a@localhost/bench</jid></bind></iq>")
        self.say(b"<enabled xmlns='urn:xmpp:sm:3' resume='true' id='%b' max='300'/>" % session)
        heard = await self.hear(ASKED)
        self.say(b"<presence from='a@localhost/bench' to='a@localhost/bench'/>", ANSWERED % 1)
        return heard


async def ended_by_a_loss(line: Line) -> None:
    """A session in which something is sent, and nothing is confirmed before the connection is lost."""
    await line.let_in()
    await line.begin()
    await line.hear(ASKED)
    line.cut()


@asynccontextmanager
async def scripted(*scripts: Callable[[Line], Awaitable[None]]) -> AsyncIterator[XmppClient]:
    """A client of a server that plays one script for each connection; a script that failed fails the test."""
    rest = iter(scripts)
    played: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(next(rest)(Line(reader, writer)))
        played.append(task)
        await asyncio.wait([task])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield XmppClient("127.0.0.1", server.sockets[0].getsockname()[1], "alice")
        await asyncio.gather(*played)
    finally:
        server.close()


@pytest.mark.parametrize("step", (1, 7, 50, 10_000))
def test_elements_are_whole_however_they_are_cut(step: int) -> None:
    message = MESSAGE % (b"m1", BODY)
    parts = [
        message,
        b"<presence from='a'/>",
        ASKED,
        ANSWERED % 3,
        b"<failed xmlns='s'><item-not-found xmlns='x'/></failed>",
    ]
    data = STREAM + b"\n".join(parts) + b"</stream:stream>"
    elements = Elements()
    found = [one for at in range(0, len(data), step) for one in elements.feed(data[at : at + step])]
    assert [one.name for one in found] == [b"stream:features", b"message", b"presence", b"r", b"a", b"failed", b""]
    assert found[1] == Element(b"message", message)


async def test_a_new_user_registers_and_logs_in() -> None:
    async def server(line: Line) -> None:
        await line.hear(b"streams'>")
        line.say(STREAM)
        auth = await line.hear(b"</auth>")
        line.say(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")
        assert b"<username>alice</username>" in await line.hear(b"</iq>")
        line.say(b"<iq type='result' id='reg'/>")
        assert await line.hear(b"</auth>") == auth
        line.say(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        await line.hear(b"streams'>")
        line.say(STREAM)
        await line.begin()
        assert await line.ends() == b"<a xmlns='urn:xmpp:sm:3' h='1'/></stream:stream>"

    async with scripted(server) as client:
        await client.connect()
        await client.close()


async def test_accepted_is_what_the_server_counts_in_order_and_it_is_asked_once_at_a_time() -> None:
    async def server(line: Line) -> None:
        await line.let_in()
        await line.begin()
        assert (await line.hear(ASKED)).count(b"<message to='bob@localhost'") == 3
        line.say(ANSWERED % 3)  # the presence and two messages
        assert await line.hear(ASKED) == ASKED
        line.say(ANSWERED % 4)
        await line.ends()

    async with scripted(server) as client:
        told = Seen(client)
        await client.connect()
        for id in ("m1", "m2", "m3"):
            client.send("bob", id, "hi")
        await told.wait_for(accepted=3)
        assert told.accepted == ["m1", "m2", "m3"]
        await client.close()


async def test_what_arrives_is_told_and_counted_when_the_server_asks() -> None:
    async def server(line: Line) -> None:
        await line.let_in()
        await line.begin()
        receipt = b"<message id='x'><received xmlns='urn:xmpp:receipts'/></message>"
        line.say(MESSAGE % (b"m1", BODY), ASKED, MESSAGE % (b"m2", BODY), receipt)
        assert await line.hear(b"/>") in {ANSWERED % n for n in (2, 3, 4)}  # as the reads fell
        line.say(ASKED)
        assert await line.hear(b"/>") == ANSWERED % 4
        line.say(MESSAGE % (b"m3", BODY))
        await line.ends()

    async with scripted(server) as client:
        told = Seen(client)
        await client.connect()
        await told.wait_for(messages=3)
        assert [id for id, _ in told.messages] == ["m1", "m2", "m3"]
        await client.close()


async def test_after_a_loss_the_session_is_taken_up_and_only_what_was_not_handled_is_sent_again() -> None:
    async def second(line: Line) -> None:
        await line.let_in()
        assert await line.hear(b"/>") == b"<resume xmlns='urn:xmpp:sm:3' h='1' previd='s1'/>"
        line.say(b"<resumed xmlns='urn:xmpp:sm:3' h='2' previd='s1'/>")
        again = await line.hear(ASKED)
        assert b"id='m1'" not in again
        assert again.count(b"id='m2'") == 1
        line.say(ANSWERED % 3)
        await line.ends()

    async with scripted(ended_by_a_loss, second) as client:
        told = Seen(client)
        await client.connect()
        client.send("bob", "m1", "hi")
        client.send("bob", "m2", "hi")
        await told.wait_for(lost=1)
        client.send("bob", "m3", "dropped without a word")
        await client.connect()
        await told.wait_for(accepted=2)
        assert told.accepted == ["m1", "m2"]
        await client.close()


async def test_a_session_that_the_server_has_forgotten_is_begun_anew_and_the_unconfirmed_sent_again() -> None:
    async def second(line: Line) -> None:
        await line.let_in()
        await line.hear(b"/>")
        line.say(
            b"<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"
        )
        heard = await line.begin(b"s2")
        assert heard.startswith(b"<presence/><message")
        line.say(ANSWERED % 2)
        await line.ends()

    async with scripted(ended_by_a_loss, second) as client:
        told = Seen(client)
        await client.connect()
        client.send("bob", "m1", "hi")
        await told.wait_for(lost=1)
        await client.connect()
        await told.wait_for(accepted=1)
        await client.close()


@pytest.fixture(scope="module")
def ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    peer = Ejabberd()
    if why := peer.missing():
        pytest.skip(why)
    try:
        peer.start(tmp_path_factory.mktemp("ejabberd"))
        yield peer
    finally:
        peer.stop()


async def test_ejabberd_delivers_keeps_for_the_absent_and_is_there_again_after_a_kill(ejabberd: Ejabberd) -> None:
    alice, bob = ejabberd.client("alice"), pickle.loads(pickle.dumps(ejabberd.client("bob")))  # noqa: S301 - our own
    senders, receiver = Seen(alice), Seen(bob)
    await alice.connect()
    await bob.connect()
    alice.send("bob", "m1", "x" * 200)
    await receiver.wait_for(messages=1)
    await bob.close()
    alice.send("bob", "m2", "x" * 200)
    await senders.wait_for(accepted=2)
    await bob.connect()
    await receiver.wait_for(messages=2)
    assert [id for id, _ in receiver.messages] == ["m1", "m2"]
    await asyncio.to_thread(ejabberd.kill_one)
    await senders.wait_for(lost=1)
    await receiver.wait_for(lost=1)
    await alice.connect()
    await bob.connect()
    alice.send("bob", "m3", "x" * 200)
    await receiver.wait_for(messages=3)
    await alice.close()
    await bob.close()
    assert len(ejabberd.pids) > 1
    assert set(ejabberd.versions) == {"ejabberd", "Erlang/OTP"}
