"""The edge: HTTP, WebSocket and the older protocol, in the words of `docs/protocol.md`.

It validates, answers and hands on; every decision about delivery is made below.
"""
