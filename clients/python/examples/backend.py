"""A backend that sends: one message, then a batch.

    python backend.py http://127.0.0.1:8000 shop alice

An order has one id for ever, so that no retry, of this process or of the next, is a second message.
"""

import sys

from inboxd_client import Acceptance, InboxSender, Outgoing, SendError, Unreachable


def main(url: str, user: str, customer: str) -> None:
    with InboxSender(url, user=user, deadline=30) as sender:
        try:
            accepted = sender.send(customer, {"text": "Your order 17 is on its way."}, id="order-17-sent")
        except SendError as refused:
            print(f"refused: {refused.code}")
        except Unreachable as fault:
            print(f"not known yet, send {fault.id} again: {fault.reason}")
        else:
            print(f"{accepted.id} is {accepted.durability}{' already' if accepted.duplicate else ''}")

        for result in sender.send_batch([Outgoing(customer, {"parcel": n}, id=f"parcel-{n}") for n in range(3)]):
            print(f"{result.id}: {'in' if isinstance(result, Acceptance) else result}")


if __name__ == "__main__":
    main(*sys.argv[1:])
