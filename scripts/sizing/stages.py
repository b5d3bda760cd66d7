"""Which stage of the path a sampled stack belongs to."""

from collections import Counter

STAGES = {
    "accept": (
        "edge/ws.py",
        "core/frames",
        "core/strict_json",
        "core/sending",
        "edge/rates",
        "core/bucket",
        "delivery/sends",
    ),
    "commit": ("delivery/committer", "store/appends"),
    "announce": ("delivery/announcer", "delivery/teller"),
    "deliver": ("delivery/connection", "core/session", "delivery/hub"),
    "read": ("delivery/reader",),
    "ack": ("delivery/acker", "store/inbox"),
    "socket": ("edge/ws_", "websockets/", "uvicorn/"),
}
REST = "loop and kernel"


def shares(stacks: str) -> dict[str, float]:
    """Of py-spy's raw format (`frame;frame;… count`, outermost first): the share of each stage among the samples.

    The innermost frame that is some stage's own decides; what has none is the loop, and the kernel below it.
    """
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        counts[stage(stack.split(";"))] += int(count)
    total = sum(counts.values()) or 1
    return {name: round(counts[name] / total, 3) for name in (*STAGES, REST)}


def stage(frames: list[str]) -> str:
    for frame in reversed(frames):
        for name, files in STAGES.items():
            if any(file in frame for file in files):
                return name
    return REST
