"""The service that inboxd replaces, as people write it: FastAPI, a WebSocket a user, Redis PUBLISH and SUBSCRIBE.

`REDIS_URL` names the server. `{"to": …, "id": …, "text": …}` comes in and goes out to whoever is there; nobody is
told whether anybody was.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from redis.asyncio import Redis

redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
subscriber = redis.pubsub(ignore_subscribe_messages=True)
online: dict[str, WebSocket] = {}


async def listen() -> None:
    """Hands what is published for the users of this worker to their sockets."""
    async for message in subscriber.listen():
        socket = online.get(message["channel"])
        if socket is not None:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it left meanwhile
                await socket.send_text(message["data"])


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await subscriber.subscribe("everybody")  # there must be one channel to listen to
    listener = asyncio.create_task(listen())
    yield
    listener.cancel()
    await redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws/{user}")
async def chat(socket: WebSocket, user: str) -> None:
    await socket.accept()
    online[user] = socket
    await subscriber.subscribe(user)
    await socket.send_json({"welcome": user})
    try:
        while True:
            message = await socket.receive_json()
            await redis.publish(message["to"], json.dumps({"from": user, "id": message["id"], "text": message["text"]}))
    except WebSocketDisconnect:
        if online.get(user) is socket:
            del online[user]
            await subscriber.unsubscribe(user)


@app.get("/ready")
async def ready() -> dict[str, bool]:
    return {"ready": bool(await redis.ping())}
