"""`signal` frames: what they say is checked here, `delivery/signals.py` sees to the rest."""

from service.core import strict_json
from service.core.errors import Fault
from service.core.frames import SIGNAL_BYTES, error_frame
from service.core.frames import Signal as SignalFrame
from service.core.identity import Identity
from service.core.sending import recipients_of
from service.delivery.connection import Connection
from service.delivery.signals import Signal
from service.delivery.worker import Worker
from service.edge.auth import sender_of


def signal(worker: Worker, connection: Connection, asking: Identity, frame: SignalFrame) -> None:
    """Sends it, or drops it in silence. Raises ClientError `forbidden`, `too_large`, `invalid_field`."""
    sender = sender_of(asking, frame.sender)
    body = strict_json.compact(frame.body, SIGNAL_BYTES)

    def refuse(fault: Fault) -> None:
        connection.tell(error_frame(fault))

    users = recipients_of(frame.to)
    worker.signals.send(Signal(sender, users, frame.group, body, worker.now_ms(), refuse))
