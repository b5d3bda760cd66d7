"""The pace of a load that waits for nobody: every send is made, in its time or late, and the lateness is known."""

import time

from scripts.bench.pace import evenly

NAP = 0.05  # s


async def test_so_many_are_sent_as_rate_and_time_ask_for_and_not_all_at_once() -> None:
    began, sent = time.monotonic(), list[float]()
    late = await evenly(lambda: sent.append(time.monotonic()), rate=200.0, seconds=0.1)
    assert len(sent) == len(late) == 20
    # The loop's timers are no finer than a millisecond.
    assert all(at - began >= number / 200 - 0.002 for number, at in enumerate(sent))
    assert min(late) >= 0


async def test_what_became_due_while_a_send_took_its_time_is_sent_late_and_not_left_out() -> None:
    naps = [NAP]

    def send() -> None:
        if naps:
            time.sleep(naps.pop())

    late = await evenly(send, rate=1000.0, seconds=0.1)
    assert len(late) == 100
    assert all(late[number] >= NAP - number / 1000 for number in range(1, 40))
