"""What is set beside `POST /v1/messages`: the same append by a plain FastAPI route, a pydantic model and redis-py.

As one would write it without the service: dedupe, the next number, the entry. No tokens, no limits, no hints,
one EVALSHA for each request.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import redis.asyncio
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

URL = "PLAIN_REDIS_URL"

APPEND = """
local call = redis.call
local last = tonumber(call('HGET', KEYS[1], 'last') or '0')
if call('HSETNX', KEYS[3], ARGV[1], last + 1) == 0 then return {2, call('HGET', KEYS[3], ARGV[1])} end
local time = call('TIME')
local cursor = string.format('%.0f-%.0f', time[1] * 1000 + math.floor(time[2] / 1000), last + 1)
call('XADD', KEYS[2], cursor, 'kind', 'message', 'id', ARGV[2], 'from', ARGV[3], 'to', ARGV[4], 'body', ARGV[5])
call('HSET', KEYS[1], 'last', last + 1)
return {1, cursor}
"""

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._~-]+$")]


class Message(BaseModel):
    """What is sent."""

    id: Name
    to: Name
    body: Any


class Accepted(BaseModel):
    """What is answered."""

    id: str
    sender: str
    cursor: str
    duplicate: bool


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    client = redis.asyncio.Redis.from_url(os.environ[URL])
    app.state.client, app.state.sha = client, await client.script_load(APPEND)
    yield
    await client.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/readyz")
async def ready() -> None:
    """The server answers, else this is a 500."""
    await app.state.client.ping()


@app.post("/v1/messages", status_code=202)
async def send(message: Message, x_inboxd_user: Annotated[str, Header()]) -> Accepted:
    """Appends one message."""
    identity = f"{x_inboxd_user}/{message.id}"
    keys = [f"state:{{{message.to}}}", f"inbox:{{{message.to}}}", f"seen:{{{message.to}}}"]
    body = message.model_dump_json(include={"body"})
    arguments = [identity, message.id, x_inboxd_user, message.to, body]
    status, cursor = await app.state.client.evalsha(app.state.sha, len(keys), *keys, *arguments)
    if not cursor:
        raise HTTPException(500)
    return Accepted(id=message.id, sender=x_inboxd_user, cursor=cursor.decode(), duplicate=status != 1)
