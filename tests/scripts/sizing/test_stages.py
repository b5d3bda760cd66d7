"""Whose a sampled stack is."""

import pytest

from scripts.sizing.stages import REST, shares, stage


@pytest.mark.parametrize(
    ("stack", "expected"),
    (
        ("main (service/worker.py:1);run (service/delivery/committer.py:9);raw (service/store/single.py:3)", "commit"),
        (
            "main (service/worker.py:1);run (service/delivery/announcer.py:9);raw (service/store/single.py:3)",
            "announce",
        ),
        (
            "main (service/worker.py:1);run (service/delivery/reader.py:9);on_hint (service/core/session.py:3)",
            "deliver",
        ),
        ("main (service/worker.py:1);data_received (service/edge/ws_protocol.py:9)", "socket"),
        ("main (service/worker.py:1);run (asyncio/runners.py:9)", REST),
    ),
)
def test_the_innermost_frame_that_is_a_stages_own_decides(stack: str, expected: str) -> None:
    assert stage(stack.split(";")) == expected


def test_shares_are_of_all_samples() -> None:
    found = shares("a;run (service/delivery/acker.py:1) 30\na;idle 10\n")
    assert (found["ack"], found[REST]) == (0.75, 0.25)
    assert sum(found.values()) == pytest.approx(1)
