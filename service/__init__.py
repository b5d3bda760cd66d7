"""inboxd: chat delivery on Redis Streams. The inbox is the truth; everything else is a hint.

A message, stage by stage:

    edge/http.py, edge/ws.py     a request or frame comes in
    core/frames.py               it is validated
    core/sending.py              it becomes a message: body as compact JSON, fingerprint
    delivery/committer.py        it joins the next batch, which is whatever came during the last one
    store/lua/append.lua         it is appended to the inboxes: this is the acceptance
    core/sending.py              its sender is told
    delivery/announcer.py        the workers that hold its recipients get a hint
    delivery/reader.py           such a worker reads the hint from its own stream
    delivery/hub.py              the recipient's connections are found
    core/session.py              is it next? send it, hold it, or read the inbox
    delivery/connection.py       it leaves for the socket
    delivery/acker.py            the device's ack comes back, gathered with others
    delivery/relay.py            or over HTTP, to any worker, which tells the one that holds the device
    store/lua/ack.lua            the cursor moves, the inbox is trimmed
    delivery/receipter.py        its sender has a receipt

To a group: delivery/fanout.py gives it the group's next number (store/lua/group_commit.lua) and delivery/spread.py
appends it to every member; delivery/finisher.py ends what others left open.

What is not stored: delivery/signals.py tells whoever is online, delivery/watching.py who comes and goes.

Beside the path: delivery/audit.py finds lost hints, delivery/liveness.py beats and sings,
delivery/reaper.py cleans up after dead workers, delivery/claims.py gives claims back, delivery/poll.py
and edge/events.py receive without a WebSocket, delivery/pusher.py rings for whoever does not ack. supervisor.py starts
it all; docs/architecture.md tells it at length.
"""
