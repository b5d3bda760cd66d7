"""A backend that passes on what inboxd pushes, as Web Push to the browsers that have subscribed.

    pip install pywebpush standardwebhooks
    vapid --gen && vapid --applicationServerKey        # once: private_key.pem, and the key that pages subscribe with
    INBOXD_PUSH_SECRET=whsec_… python web_push.py 8010 private_key.pem mailto:ops@example.org

It listens on loopback: in front of it stands whatever ends TLS, and knows who a browser is. Yours would keep
subscriptions in its database, and take those of `POST /subscriptions` only from the user that they are for.
"""

import json
import os
import sys
from collections import OrderedDict, defaultdict
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pywebpush import WebPushException, webpush
from standardwebhooks import Webhook, WebhookVerificationError

MOST_BYTES = 65_536
REMEMBERED = 10_000
GONE = {404, 410}


class Backend:
    """Who has subscribed, and which pushes were passed on."""

    def __init__(self, secret: str, private_key: str, contact: str) -> None:
        self.webhook = Webhook(secret)
        self.private_key, self.contact = private_key, contact
        self.subscriptions: defaultdict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.seen: OrderedDict[str, None] = OrderedDict()
        self.pool = ThreadPoolExecutor(8)

    def subscribe(self, user: str, subscription: dict[str, Any]) -> None:
        """What `registration.pushManager.subscribe()` gave the page. Each browser has an endpoint of its own."""
        self.subscriptions[user][subscription["endpoint"]] = subscription

    def pushed(self, body: bytes, headers: dict[str, str]) -> bool:
        """Whether every browser was told; if not, inboxd tries again. Raises WebhookVerificationError for what is not
        from inboxd, or too old.
        """
        data = self.webhook.verify(body, headers)["data"]
        if headers["webhook-id"] in self.seen:
            return True  # the answer to it was lost
        newest = data["newest"]
        told = {"user": data["user"], "pending": data["pending"], "from": newest["from"], "group": newest["group"]}
        subscriptions = list(self.subscriptions[data["user"]].values())
        if not all(self.pool.map(lambda one: self.tell(data["user"], one, json.dumps(told)), subscriptions)):
            return False
        self.seen[headers["webhook-id"]] = None
        if len(self.seen) > REMEMBERED:
            self.seen.popitem(last=False)
        return True

    def tell(self, user: str, subscription: dict[str, Any], text: str) -> bool:
        """Encrypted for that browser: its push service cannot read it. Whether there is nothing left to be done."""
        claims: dict[str, str | int] = {"sub": self.contact}
        try:
            webpush(subscription, text, self.private_key, claims, ttl=86_400, timeout=5, headers={"Urgency": "high"})
        except (WebPushException, OSError) as error:
            if getattr(getattr(error, "response", None), "status_code", None) not in GONE:
                print(f"not told: {error}", flush=True)
                return False
            self.subscriptions[user].pop(subscription["endpoint"], None)
        return True


class Handler(BaseHTTPRequestHandler):
    """`POST /hooks/inboxd` is INBOXD_PUSH_URL; `POST /subscriptions` takes `{"user", "subscription"}`."""

    backend: Backend

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        if not 0 < length <= MOST_BYTES:
            return self.answer(413)
        body = self.rfile.read(length)
        try:
            if self.path == "/hooks/inboxd":
                if not self.backend.pushed(body, {name.lower(): value for name, value in self.headers.items()}):
                    return self.answer(503)
            elif self.path == "/subscriptions":
                asked = json.loads(body)
                self.backend.subscribe(asked["user"], asked["subscription"])
            else:
                return self.answer(404)
        except WebhookVerificationError:
            return self.answer(401)
        except (ValueError, KeyError, TypeError):
            return self.answer(400)
        return self.answer(204)

    def answer(self, status: int) -> None:
        """Without a body."""
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


def main(port: str, private_key: str, contact: str) -> None:
    Handler.backend = Backend(os.environ["INBOXD_PUSH_SECRET"], private_key, contact)
    with ThreadingHTTPServer(("127.0.0.1", int(port)), Handler) as server:
        print(f"listening on {server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
