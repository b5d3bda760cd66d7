"""The tab or the whole browser goes while messages wait; when it is back they go out, once."""

from scripts.lab import processes
from scripts.lab.service import Service
from scripts.lab.tcp_proxy import Faults, TcpProxy
from tests.browser.chat import Chat
from tests.browser.chrome import Profile
from tests.browser.conftest import NOTHING_COMES_BACK, Enter
from tests.support.device import Device


def texts(device: Device) -> list[str]:
    return [entry["body"]["text"] for entry in device.entries]


async def test_a_closed_tab_sends_what_waited_when_it_is_opened_again_exactly_once(
    service: Service, enter: Enter, alice: str, bob: str
) -> None:
    async with Device(service.url, bob) as phone:
        chat = await enter(alice)
        await chat.talk_to(bob)
        await chat.go_offline()
        await chat.write("one", "two", "three")
        await chat.page.close()
        again = await Chat.open(chat.page.context, chat.watch, service.url, alice)
        await again.pick(bob)
        await again.shows("one", "two", "three")
        await again.has_sent("one", "two", "three")
        await again.write("four")
        await phone.receive(4)
        assert texts(phone) == ["one", "two", "three", "four"]


async def test_a_killed_browser_sends_what_waited_when_it_is_started_again_exactly_once(
    service: Service, profile: Profile, alice: str, bob: str
) -> None:
    async with Device(service.url, bob) as phone:
        chat = await alices(profile, service.url, alice)
        await chat.is_live()
        await chat.talk_to(bob)
        await chat.go_offline()
        await chat.write("one", "two")
        await chat.composer.fill("a draft")
        await killed(profile)
        again = await alices(profile, service.url, alice)
        await again.pick(bob)
        await again.shows("one", "two")
        await again.has_sent("one", "two")
        await again.write("three")
        await phone.receive(3)
        assert texts(phone) == ["one", "two", "three"]


async def test_a_browser_killed_between_acceptance_and_answer_makes_no_second_message(
    service: Service, proxy: TcpProxy, profile: Profile, alice: str, bob: str
) -> None:
    base = f"http://127.0.0.1:{proxy.port}"
    async with Device(service.url, bob) as phone:
        chat = await alices(profile, base, alice)
        await chat.is_live()
        await chat.talk_to(bob)
        proxy.faults = NOTHING_COMES_BACK
        await chat.write("once")
        await phone.receive(1)
        await chat.is_in_state("once", "queued")
        await killed(profile)
        assert proxy.counts["swallowed"] > 0
        proxy.faults = Faults()
        again = await alices(profile, base, alice)
        await again.pick(bob)
        await again.has_sent("once")
        await again.write("next")
        await again.shows("once", "next")
        await phone.receive(2)
        assert texts(phone) == ["once", "next"]


async def test_a_browser_killed_while_messages_come_in_shows_each_once_when_it_is_back(
    service: Service, profile: Profile, alice: str, bob: str
) -> None:
    async with Device(service.url, bob) as phone:
        chat = await alices(profile, service.url, alice)
        await chat.is_live()
        for number in range(8):
            await phone.send(f"m-{number}", alice, {"text": f"{number}"})
        await chat.pick(bob)
        await killed(profile)
        for number in range(8, 12):
            await phone.send(f"m-{number}", alice, {"text": f"{number}"})
        again = await alices(profile, service.url, alice)
        await again.pick(bob)
        await again.shows(*(f"{number}" for number in range(12)))


async def alices(profile: Profile, base: str, user: str) -> Chat:
    """The page in a browser just started."""
    await profile.start()
    profile.watch.cut = True
    return await Chat.open(profile.context, profile.watch, base, user)


async def killed(profile: Profile) -> None:
    pid = profile.pid
    await profile.kill()
    assert not processes.is_alive(pid)
