"""Metrics, in Prometheus' own library. The parent sets PROMETHEUS_MULTIPROC_DIR, so that one worker's
`/metrics` answers for all of the host. Labelled children are looked up here, once, not per message.
"""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST


def _counter(name: str, text: str) -> Counter:
    return Counter(f"inboxd_{name}", text)


MESSAGES_COMMITTED = _counter(
    "messages_committed", "messages the append script answered, repeats and refusals included"
)
BATCHES = _counter("batches", "batches of appends; messages per batch is what back-pressure gathers")
SENDS_UNAVAILABLE = _counter("sends_unavailable", "sends answered unavailable")
HINTS_SENT = _counter("hints_sent", "hints written to other workers' streams")
HINTS_HEARD = _counter("hints_heard", "hints and controls read from the worker's own stream")
HINTS_DROPPED = _counter("hints_dropped", "hints that could not be written; the audit finds their entries")
HINTS_UNREADABLE = _counter("hints_unreadable", "fields of the worker's stream that are no hint")
READER_RESYNCS = _counter("reader_resyncs", "times the reader had to find its place in its stream")
RECEIPTS_MADE = _counter("receipts_made", "receipts `delivered` appended to senders' inboxes")
RECEIPTS_PUT_OFF = _counter("receipts_put_off", "users passed over: too many owed receipts; the audit finds them")
OWN_COPIES_DROPPED = _counter("own_copies_dropped", "senders' own copies left out: too many waited for a server")
GROUP_COMMITS = _counter("group_commits", "commit calls for groups; sends per call is the batching that waiting gives")
GROUP_SENDS = _counter("group_sends", "sends to groups, repeats and refusals included")
GROUP_BEHIND = _counter("group_behind", "members that lacked an earlier entry of their group, and got it from its log")
GROUP_REFUSED = _counter("group_refused", "entries of groups that a member's inbox did not take")
GROUPS_FINISHED = _counter("groups_finished", "groups whose fan-outs, left by others, were ended by the sweeper")
STALE_CLAIMS = _counter("stale_claims", "claims found to name a worker that is gone")
ENTRIES_SENT = _counter("frames_sent", "frames written to sockets")
ENTRIES_EXPIRED = _counter("entries_expired", "entries told as a gap because they had expired unseen")
REPLAYED_PAGES = _counter("pages_read", "pages read from inboxes for sessions")
ACKS_STORED = _counter("acks_stored", "acks written, coalesced")
ACKS_RELAYED = _counter("acks_relayed", "acks over HTTP told to the worker that holds their device")
AUDIT_FOUND = _counter("audit_found", "sessions the audit found behind their inbox")
AUDIT_RECLAIMED = _counter("audit_reclaimed", "claims the audit found lost and took again")
REPLACED = _counter("sessions_replaced", "sessions ended because their device connected again elsewhere")
REAPED = _counter("workers_reaped", "dead workers cleaned up by this one")
SIGNALS_TOLD = _counter("signals_told", "signals written to sockets and streams")
SIGNALS_DROPPED = _counter(
    "signals_dropped", "signals lost: too many waited, the store was away, or a peer does not read"
)
NOTICES_SENT = _counter("notices_sent", "users told to other workers to have come or gone")
NOTICES_DROPPED = _counter("notices_dropped", "such notices lost; the audit of whoever watches finds it")
PRESENCE_TOLD = _counter("presence_told", "presence frames written to sockets")
PRESENCE_UNTOLD = _counter("presence_untold", "presence frames put off: the peer does not read")
WATCHES_REFUSED = _counter("watches_refused", "watches refused because this worker watches as many users as it may")
PUSHES_SENT = _counter("pushes_sent", "pushes that the receiver has taken")
PUSHES_FAILED = _counter("pushes_failed", "tries to push that failed; each is tried again")
PUSHES_RETRIED = _counter("pushes_retried", "tries to push after one that had failed")
PUSHES_NOT_NEEDED = _counter("pushes_not_needed", "times a user was looked at and nothing was left to be told")
PUSHES_SWEPT = _counter("pushes_swept", "users whom the sweep found, with something that waits and no row")
PUSHERS_REJECTED = _counter("pushers_rejected", "pushers that a gateway did not want any more")
CONNECTIONS_REFUSED = _counter("connections_refused", "connections beyond INBOXD_MAX_CONNECTIONS")
USERS_CROWDED = _counter("users_crowded", "sockets and polls refused for INBOXD_MAX_CONNECTIONS_PER_USER")
DEVICES_REFUSED = _counter("devices_refused", "devices refused for INBOXD_MAX_DEVICES")
REQUESTS_TOO_SLOW = _counter("requests_too_slow", "requests and handshakes that did not come in time")
REQUESTS_LIMITED = _counter("requests_limited", "requests answered 429 rate_limited")
SOCKETS_SLOWED = _counter("sockets_slowed", "sends over a socket that waited for their user's rate")
BODIES_REFUSED = _counter("bodies_refused", "requests refused because this worker held enough bytes of others")
IDENTITIES = _counter("identities", "identities this process took; more than one: it was called dead")
TASK_DEATHS = _counter("task_deaths", "background tasks that died")
CONNECTIONS = Gauge("inboxd_connections", "sockets and long polls held now", multiprocess_mode="livesum")
WATCHES = Gauge("inboxd_watches", "users watched by connections held now", multiprocess_mode="livesum")
READY = Gauge("inboxd_ready_workers", "workers that are ready", multiprocess_mode="livesum")


def exposition() -> bytes:
    """The metrics of all workers of this host, or of this process alone where it has no siblings."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library is typed in part
    return generate_latest(registry)
