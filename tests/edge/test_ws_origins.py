"""`INBOXD_ORIGINS`: the browser origins let in beside the service's own."""

from collections.abc import Callable

import pytest
from websockets.exceptions import InvalidStatus

from scripts.lab.service import Service
from tests.support.wire import Wire


@pytest.fixture(scope="module")
def url(serve: Callable[..., Service]) -> str:
    service = serve(origins="https://chat.example,https://other.example:8443", workers=1)
    return service.url.replace("http", "ws") + "/v1/ws?user=bob"


@pytest.mark.parametrize("origin", ("https://chat.example", "https://other.example:8443"))
async def test_a_listed_origin_is_let_in(url: str, origin: str) -> None:
    wire = await Wire.open(url, origin=origin)
    await wire.close()


@pytest.mark.parametrize(
    "origin",
    (
        "http://chat.example",
        "https://chat.example:8443",
        "https://other.example",
        "https://sub.chat.example",
        "https://chat.example.evil",
        "https://evil/https://chat.example",
    ),
)
async def test_what_only_resembles_a_listed_origin_is_not(url: str, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await Wire.open(url, origin=origin)
    assert refusal.value.response.status_code == 403
