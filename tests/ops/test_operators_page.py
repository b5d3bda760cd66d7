"""The operators' page is true: its key table is the catalogue, its recipes show what they say they show."""

import re
import shutil
from pathlib import Path

import pytest

from scripts.lab.redis_server import RedisServer
from service.store.keys import CATALOGUE
from tests.ops import example, redis_cli
from tests.ops.page import PAGE, Shown, key_table, sections

SECTIONS = sections(PAGE.read_text(encoding="utf-8"))

# A time in ms, alone or as the front of a cursor or stream id.
TIME = re.compile(r"\b(1[78]\d{11})\b")


class Times:
    """Page and server were filled at different times: which time of the page is which of the server."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}

    def same(self, page: str, server: str) -> bool:
        """Whether two outputs differ in nothing but their times, and each time in the same way as before."""
        if TIME.sub("<ms>", page) != TIME.sub("<ms>", server):
            return False
        pairs = zip(TIME.findall(page), TIME.findall(server), strict=True)
        return all(self._now.setdefault(shown, now) == now for shown, now in pairs)

    def translated(self, words: list[str]) -> list[str]:
        """A command of the page, for the server. Its times were shown by a command before it."""
        return [TIME.sub(lambda found: self._now[found[0]], word) for word in words]


def test_the_key_table_equals_the_catalogue() -> None:
    rows = [(f"`{doc.pattern}`", *doc[1:]) for doc in CATALOGUE]
    assert key_table(PAGE.read_text(encoding="utf-8")) == rows


def test_the_page_has_the_recipes_that_were_asked_for() -> None:
    assert {
        "Who is online, and where?",
        "What waits for bob?",
        "Which device lags?",
        "What has a worker yet to read?",
        "Why has a message not arrived?",
    } <= SECTIONS.keys()


@pytest.mark.parametrize("heading", SECTIONS)
async def test_each_recipe_shows_on_a_real_server_what_the_page_says(heading: str, redis_url: str) -> None:
    await example.build(redis_url)
    times = Times()
    try:
        for shown in SECTIONS[heading]:
            output = redis_cli.run(redis_url, *times.translated(shown.words))
            assert times.same(shown.output, output), f"{shown.command}\n{output}\nnot as on the page:\n{shown.output}"
    finally:
        redis_cli.run(redis_url, "CONFIG", "SET", "maxmemory", "0")


async def test_keys_of_the_example_are_all_in_the_table(redis_url: str) -> None:
    await example.build(redis_url)
    keys = re.findall(r'"(.*)"', redis_cli.run(redis_url, "KEYS", "*"))
    shapes = {re.sub(r"\{[^}]*\}", "{}", doc.pattern): doc.type for doc in CATALOGUE}
    assert keys
    for key in keys:
        kind = redis_cli.run(redis_url, "TYPE", key).strip('"')
        assert shapes[re.sub(r"\{[^}]*\}", "{}", key)] == kind


async def test_a_backup_taken_as_the_page_says_holds_everything(tmp_path: Path) -> None:
    server, copy = RedisServer(tmp_path / "server"), RedisServer(tmp_path / "copy")
    server.start()
    try:
        await example.build(server.url)
        for shown in SECTIONS["Backups"][:1]:
            assert redis_cli.run(server.url, *shown.words) == shown.output
        assert "aof_rewrite_in_progress:0" in redis_cli.run(server.url, "INFO", "persistence")
        shutil.copytree(server.folder / "appendonlydir", copy.folder / "appendonlydir")
    finally:
        server.stop()
    copy.start()
    try:
        assert redis_cli.run(copy.url, "XLEN", "chat:inbox:{bob}") == "(integer) 4"
    finally:
        copy.stop()


def test_the_reader_of_the_page_finds_commands_and_their_output() -> None:
    text = "## A\n```console\n$ redis-cli GET 'a b'\n(nil)\n$ redis-cli TIME\n```\n### B\n```sh\n$ no\n```\n"
    assert sections(text) == {"A": [Shown("redis-cli GET 'a b'", "(nil)"), Shown("redis-cli TIME", "")]}
    assert sections(text)["A"][0].words == ["GET", "a b"]


def test_times_must_change_alike_everywhere() -> None:
    times = Times()
    assert times.same("1795406225505-4", "1800000000001-4")
    assert times.translated(["(1795406225505-4"]) == ["(1800000000001-4"]
    assert not times.same("1795406225505-4", "1800000000002-4")
    assert not times.same("1795406225509-4", "1800000000003-5")


@pytest.mark.parametrize(
    ("reply", "shown"),
    (
        (None, "(nil)"),
        (3, "(integer) 3"),
        (b"OK", "OK"),
        (b'a"\n\x01\xc3', '"a\\"\\n\\x01\\xc3"'),
        ([], "(empty array)"),
        ([b"a", [b"b", 1]], '1) "a"\n2) 1) "b"\n   2) (integer) 1'),
        ([1] * 10, "\n".join(f"{n:>2}) (integer) 1" for n in range(1, 11))),
    ),
)
def test_replies_are_rendered_as_redis_cli_does(reply: object, shown: str) -> None:
    assert redis_cli.render(reply) == shown
