"""The store's fixtures do what tests rely on."""

from typing import Any

from scripts.lab.redis_server import RedisServer

SCRIPT = "#!lua flags=allow-oom\nreturn redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])"


async def test_a_script_with_a_first_line_for_the_engine_runs_on_both_servers(any_redis: Any) -> None:
    sha = await any_redis.script_load(SCRIPT)
    assert await any_redis.evalsha(sha, 1, "counters", "2") == 2
    await any_redis.script_flush()
    sha = await any_redis.script_load(SCRIPT)
    assert await any_redis.evalsha(sha, 1, "counters", "2") == 4


async def test_the_real_server_is_empty_when_a_test_begins(real_redis: Any) -> None:
    assert await real_redis.dbsize() == 0
    await real_redis.set("left", "behind")


async def test_and_so_it_is_for_the_next_test(real_redis: Any) -> None:
    assert await real_redis.dbsize() == 0


def test_the_real_server_keeps_its_data_over_a_kill(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.flushall()
        client.set("kept", "yes")
    before = redis_server.pid
    redis_server.kill()
    redis_server.start()
    assert redis_server.pid != before
    with redis_server.client() as client:
        assert client.get("kept") == "yes"
