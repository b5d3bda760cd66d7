"""Text that would like to be a program stays text, wherever the page shows it."""

import pytest
from playwright.async_api import expect

from scripts.lab.service import Service
from tests.browser.chat import Chat
from tests.browser.conftest import Enter
from tests.support.api import Api

PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x dur=1s>",
    "\"><iframe srcdoc='<script>parent.alert(1)</script>'>",
    "javascript:alert(1)",
    "<a href='javascript:alert(1)'>click</a>",
    "<style>@import 'https://elsewhere.test/x.css'; * { display: none }</style>",
    "<base href='https://elsewhere.test/'><meta http-equiv=refresh content='0;url=https://elsewhere.test'>",
    "<form action='https://elsewhere.test'><button autofocus onfocus=alert(1)>",
    "${alert(1)} {{constructor.constructor('alert(1)')()}} <%= alert(1) %>",
    "</textarea></title></style><img src=x onerror=alert(1)>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "&lt;b&gt; &amp; &#x3C;script&#x3E;",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe\N{POP DIRECTIONAL FORMATTING} <b>bold</b>",
    "\N{NULL}<scr\N{NULL}ipt>alert(1)</scr\N{NULL}ipt>",
    "https://elsewhere.test/ www.elsewhere.test",
)

# As objects that a careless template library would take for elements, or that touch what objects inherit.
OBJECTS = (
    {"type": "script", "props": {"children": "alert(1)"}, "__k": None, "constructor": None},
    {"text": {"__html": "<img src=x onerror=alert(1)>"}},
    {"dangerouslySetInnerHTML": {"__html": "<img src=x onerror=alert(1)>"}, "text": 1},
    {"__proto__": {"polluted": "yes"}, "constructor": {"prototype": {"polluted": "yes"}}},
    {"text": ["<img src=x onerror=alert(1)>"]},
)

# The alphabet of names has no quote and no bracket; these are what it has.
NAMES = (
    "javascript:alert.1",
    "__proto__",
    "constructor",
    "..",
    "a:b@c+d",
    "-" * 128,
)

FOREIGN = (
    "script:not([src^='/web/']), iframe, object, embed, base, form[action], style, a[href], img:not([src^='/web/'])"
)


async def is_clean(chat: Chat) -> None:
    """Nothing in the page came out of a message."""
    await expect(chat.page.locator(FOREIGN)).to_have_count(0)
    assert await chat.page.evaluate("({}).polluted") is None
    assert chat.page.url.startswith(chat.base)


async def test_no_body_becomes_a_part_of_the_page(enter: Enter, api: Api, bob: str) -> None:
    chat = await enter(bob)
    for number, body in enumerate([*({"text": payload} for payload in PAYLOADS), *OBJECTS, *PAYLOADS]):
        await api.send(bob, body, f"m-{number}")
    await chat.pick("operator")
    await expect(chat.bodies).to_have_count(2 * len(PAYLOADS) + len(OBJECTS))
    await is_clean(chat)
    shown = await chat.bodies.all_text_contents()
    assert PAYLOADS[0] in shown
    assert PAYLOADS[1] in shown
    await chat.reload()
    await expect(chat.bodies).not_to_have_count(0)
    await is_clean(chat)


async def test_what_one_writes_oneself_stays_text_too(enter: Enter, alice: str, bob: str) -> None:
    chat = await enter(alice)
    await chat.talk_to(bob)
    await chat.go_offline()
    await chat.write(PAYLOADS[0], PAYLOADS[1])
    await chat.composer.fill(PAYLOADS[2])
    await is_clean(chat)
    await chat.go_online()
    await chat.has_sent(PAYLOADS[0], PAYLOADS[1])
    await is_clean(chat)


@pytest.mark.parametrize("name", NAMES)
async def test_no_name_becomes_more_than_a_name(enter: Enter, service: Service, name: str, bob: str) -> None:
    chat = await enter(bob)
    async with Api(service.url, name) as other:
        await other.send(bob, {"text": "hello"}, f"to-{bob}"[:64])
    await chat.pick(name)
    await chat.shows("hello")
    await chat.write("and back")
    await chat.has_sent("and back")
    await chat.reload()
    await chat.is_live()
    await chat.shows("hello", "and back")
    await is_clean(chat)


async def test_an_address_that_somebody_made_up_does_nothing(enter: Enter, service: Service, bob: str) -> None:
    chat = await enter(bob)
    for made_up in (
        "/?user=<script>alert(1)</script>&device=<img src=x onerror=alert(1)>",
        "/?user=javascript:alert(1)#javascript:alert(1)",
        f"/?user={bob}&device=web#<img src=x onerror=alert(1)>",
        f"/?user={bob}&device=web#%E0%A4%A",
    ):
        await chat.page.goto(f"{service.url}{made_up}")
        await expect(chat.page.locator("#page > *")).to_have_count(1)
        await is_clean(chat)
