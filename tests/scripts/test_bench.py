"""The benchmark's arithmetic, its clients and its report. Nothing here judges how fast anything is."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from scripts.bench import report
from scripts.bench.__main__ import chosen, parser
from scripts.bench.content import BODY, BODY_BYTES, Sends, batch, batch_statuses, message
from scripts.bench.crew import Gate, Outcome
from scripts.bench.http_client import connect, post, split_answer
from scripts.bench.http_load import HttpSends
from scripts.bench.latency import LatencyLoad
from scripts.bench.machine import Machine
from scripts.bench.measure import (
    QUICK,
    Cost,
    Figure,
    Mark,
    Readings,
    Reference,
    Result,
    cost_between,
    rate,
    remarks,
    together,
)
from scripts.bench.pairs import PairsLoad
from scripts.bench.redis_info import CallStat, ServerFacts, calls_between, parse_calls
from scripts.bench.redis_load import command, csv_rate
from scripts.bench.report import Conditions, Run
from scripts.bench.setups import Setup, environment
from scripts.bench.stats import percentile, ratio, spread
from scripts.bench.subjects import SUBJECTS
from scripts.bench.usage import Pids, Reading, read
from scripts.bench.ws_client import Device, Manners
from scripts.bench.ws_frames import CLOSE, PING, TEXT, Decoder, Frame, encode, masked
from scripts.bench.ws_load import Sender, WsSends, faults, settle
from tests.scripts.fake_inboxd import fake_http, fake_inboxd

KEY = bytes((1, 2, 3, 4))


class OpenGate(Gate):
    """A gate that holds up nobody."""

    def __init__(self) -> None:
        self.waited = 0

    async def wait(self) -> None:
        self.waited += 1


def server_frame(payload: bytes, opcode: int = TEXT, fin: int = 0x80) -> bytes:
    size = len(payload)
    if size <= 125:
        return bytes((fin | opcode, size)) + payload
    if size < 65536:
        return bytes((fin | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((fin | opcode, 127)) + size.to_bytes(8, "big") + payload


def outcome(**changes: object) -> Outcome:
    values: dict[str, object] = {
        "started": 10.0,
        "ended": 12.0,
        "done": 100,
        "total": 110,
        "cpu": 0.5,
        "wall": 2.5,
        "appends": 220,
    }
    return Outcome(**(values | changes))  # type: ignore[arg-type]


# Arithmetic


def test_a_percentile_is_the_nearest_rank() -> None:
    samples = [float(number) for number in range(1, 1001)]
    assert percentile(samples, 0.5) == 500
    assert percentile(samples, 0.99) == 990
    assert percentile(samples, 0.999) == 999
    assert percentile(samples, 1.0) == 1000
    assert percentile([7.0], 0.5) == percentile([7.0], 0.0) == 7.0
    assert math.isnan(percentile([], 0.5))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(0, 1))
def test_a_percentile_is_a_sample_that_enough_samples_do_not_exceed(samples: list[float], share: float) -> None:
    found = percentile(samples, share)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= share * len(samples) - 1e-6


def test_a_ratio_without_a_base_is_not_a_number() -> None:
    assert ratio(3, 4) == 0.75
    assert math.isnan(ratio(3, 0))


def test_a_spread_leaves_out_what_is_not_known() -> None:
    over = spread([3.0, math.nan, 1.0, 2.0])
    assert (over.median, over.low, over.high) == (2.0, 1.0, 3.0)
    assert math.isnan(spread([math.nan]).median)


# WebSocket frames


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_the_xor_with_the_repeated_key(payload: bytes, key: bytes) -> None:
    expected = bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))
    assert masked(payload, key) == expected
    assert masked(masked(payload, key), key) == payload


@pytest.mark.parametrize(
    ("size", "head"),
    ((0, b"\x81\x80"), (125, b"\x81\xfd"), (126, b"\x81\xfe\x00\x7e"), (65535, b"\x81\xfe\xff\xff"),
     (65536, b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x00")),
)  # fmt: skip
def test_a_client_frame_names_its_length_in_the_shortest_form(size: int, head: bytes) -> None:
    payload = b"x" * size
    assert encode(payload, key=KEY) == head + KEY + masked(payload, KEY)


def test_a_control_frame_carries_its_opcode() -> None:
    assert encode(b"\x03\xe8", CLOSE) == b"\x88\x82\x00\x00\x00\x00\x03\xe8"


@given(st.lists(st.sampled_from((0, 5, 125, 126, 300)), max_size=5), st.integers(1, 400))
def test_frames_come_out_whole_however_the_bytes_were_cut(sizes: list[int], cut: int) -> None:
    payloads = [bytes((number,)) * size for number, size in enumerate(sizes)]
    stream = b"".join(map(server_frame, payloads))
    decoder, frames = Decoder(), []
    for at in range(0, len(stream), cut):
        frames += decoder.feed(stream[at : at + cut])
    assert frames == [Frame(TEXT, payload) for payload in payloads]


def test_a_frame_with_a_64_bit_length_comes_out_whole() -> None:
    payload = b"x" * 70_000
    assert Decoder().feed(server_frame(payload)) == [Frame(TEXT, payload)]


def test_fragments_are_joined_and_a_ping_between_them_is_seen_first() -> None:
    stream = server_frame(b"one ", fin=0) + server_frame(b"!", PING) + server_frame(b"two", opcode=0)
    assert Decoder().feed(stream) == [Frame(PING, b"!"), Frame(TEXT, b"one two")]


def test_a_masked_frame_of_a_server_is_an_error() -> None:
    with pytest.raises(ValueError, match="masked"):
        Decoder().feed(encode(b"hello"))


# What is sent


def test_the_body_has_exactly_the_size_the_report_names() -> None:
    assert len(BODY) == BODY_BYTES == len(orjson.dumps(orjson.loads(BODY)))


def test_a_batch_is_json_of_its_messages() -> None:
    sent = orjson.loads(batch([message("m-1", "bob"), message("m-2", "carol")]))
    assert [(one["id"], one["to"]) for one in sent["messages"]] == [("m-1", "bob"), ("m-2", "carol")]
    assert batch_statuses(b'{"results":[{"status":202},{"status":507,"code":"inbox_full"}]}') == [202, 507]


def test_a_redis_command_is_spelled_as_resp() -> None:
    assert command(b"XADD", b"k", b"*") == b"*3\r\n$4\r\nXADD\r\n$1\r\nk\r\n$1\r\n*\r\n"


def test_the_rate_is_read_from_the_csv_of_a_real_benchmark() -> None:
    output = '"test","rps","avg_latency_ms"\n"XADD s * body x","181818.17","0.256"\n'
    assert csv_rate(output) == 181818.17


# The clients, against a fake service


async def test_a_device_gets_its_entries_and_acks_the_last_of_them() -> None:
    async with fake_inboxd() as (fake, endpoint):
        sender, bob = Device(endpoint, "alice"), Device(endpoint, "bob", Manners(ack_every=2))
        await asyncio.gather(sender.connect(), bob.connect())
        for number in range(3):
            frame = {"type": "send", "id": str(number), "to": "bob", "body": 1}
            sender.write(encode(orjson.dumps(frame), key=KEY))
        await eventually(lambda: fake.acks.get("bob", [""])[-1] == "1-3")
        assert bob.entries == 3
        assert not faults([sender, bob])
        sender.leave()
        bob.leave()


async def test_a_device_notices_a_hole_between_its_entries() -> None:
    async with fake_inboxd() as (fake, endpoint):
        fake.skipped = {2}
        alice = Device(endpoint, "alice")
        await alice.connect()
        for number in range(2):
            alice.write(encode(orjson.dumps({"type": "send", "id": str(number), "to": "x", "body": 1})))
        await eventually(lambda: alice.entries == 2)
        assert faults([alice]) == {"holes": 1}
        alice.leave()


async def test_a_refused_handshake_is_an_error_that_says_so() -> None:
    async with fake_inboxd() as (fake, endpoint):
        fake.refusing = True
        with pytest.raises(ConnectionError, match="403"):
            await Device(endpoint, "alice").connect()


async def test_refused_sends_are_counted_and_answered_for() -> None:
    async with fake_inboxd() as (_, endpoint):
        sender = Sender(endpoint, "alice", Manners(), 0, [Sends(b"nobody")])
        await sender.connect()
        sender.start()
        await asyncio.sleep(0.05)
        sender.running = False
        await settle([sender])
        assert sender.good == 0
        assert faults([sender]) == {"inbox_full": sender.sent}
        sender.leave()


async def test_websocket_sends_are_counted_with_their_own_copies() -> None:
    gate = OpenGate()
    async with fake_inboxd() as (_, endpoint):
        seen = await WsSends(endpoint, "t", 0.1, 0.05, Manners(), connections=2).run(gate)
    assert gate.waited == 1
    assert 0 < seen.done <= seen.total
    assert seen.appends == 2 * seen.total
    assert not seen.faults


async def test_pairs_time_every_message_they_deliver() -> None:
    async with fake_inboxd() as (_, endpoint):
        seen = await PairsLoad(endpoint, "t", 0.1, 0.05, Manners(), pairs=3, in_flight=6).run(OpenGate())
    assert 0 < seen.done <= seen.total == len(seen.samples)
    assert all(0 < sample < 5 for sample in seen.samples)
    assert not seen.faults


async def test_latency_is_measured_at_the_asked_rate() -> None:
    async with fake_inboxd() as (_, endpoint):
        load = LatencyLoad(endpoint, "t", 0.2, 0.05, Manners(), seed=1, rate=100, pairs=2)
        seen = await load.run(OpenGate())
    assert seen.total == len(seen.samples) == len(seen.late) == 20


@pytest.mark.parametrize("per_request", (1, 5))
async def test_http_sends_are_counted_by_message(per_request: int) -> None:
    async with fake_http() as (bodies, endpoint):
        seen = await HttpSends(endpoint, "t", 0.1, 0.05, 2, per_request).run(OpenGate())
    assert 0 < seen.done <= seen.total <= len(bodies) * per_request
    assert not seen.faults


def test_the_clients_run_on_the_event_loop_the_load_uses() -> None:
    async def both() -> None:
        async with fake_inboxd() as (_, endpoint), fake_http() as (_, http_endpoint):
            sends = await WsSends(endpoint, "t", 0.05, 0.02, Manners(), connections=2).run(OpenGate())
            posts = await HttpSends(http_endpoint, "t", 0.05, 0.02, 2).run(OpenGate())
            assert sends.total > 0
            assert posts.total > 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(both())


async def test_one_http_connection_carries_many_requests() -> None:
    async with fake_http() as (bodies, endpoint):
        connection = await connect(endpoint)
        for number in range(3):
            answer = await connection.request(post(endpoint, "/v1/messages", "alice", b'{"n":%d}' % number))
            assert answer.status == 202
        connection.close()
    assert bodies == [b'{"n":0}', b'{"n":1}', b'{"n":2}']


def test_an_http_answer_is_taken_only_when_it_is_whole() -> None:
    whole = b"HTTP/1.1 202 Accepted\r\nCONTENT-LENGTH: 4\r\n\r\nbody"
    assert all(split_answer(whole[:cut]) is None for cut in range(len(whole)))
    assert split_answer(whole + b"HTTP") == ((202, b"body"), b"HTTP")
    with pytest.raises(ValueError, match="Content-Length"):
        split_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


# Readings


def test_several_load_processes_count_as_one() -> None:
    both = together([outcome(), outcome(started=9.0, done=300, faults=Counter(holes=2))])
    assert rate(both) == 400 / 3
    assert both.faults == {"holes": 2}


def test_a_load_that_filled_its_core_is_reported_as_the_limit() -> None:
    busy = outcome(cpu=2.4)
    cost = Cost(100, 200, 2.5, 0.1, 0.0, 0.1, 2.4, {})
    assert any("load generator was the limit" in remark for remark in remarks([busy], cost))
    assert remarks([outcome(cpu=0.1)], Cost(100, 200, 2.5, 0.0, 0.0, 0.0, 0.1, {})) == ()


def test_the_servers_own_cpu_figure_is_preferred_to_the_systems_ticks() -> None:
    before = Readings(Reading(1.0, 0.1, 5.0), 5.123, {"xadd": CallStat(10, 20.0)})
    after = Readings(Reading(2.5, 0.2, 6.0), 6.456, {"xadd": CallStat(12, 26.0), "hget": CallStat(0, 0)})
    cost = cost_between(before, after, outcome())
    assert cost.server == pytest.approx(1.333)
    assert cost.workers == 1.5
    assert cost.parent == pytest.approx(0.1)
    assert cost.calls == {"xadd": CallStat(2, 6.0)}


def test_a_cost_out_of_reach_is_not_taken_for_nothing() -> None:
    nowhere = Readings(read(Pids()), None, {})
    cost = cost_between(nowhere, nowhere, outcome())
    assert math.isnan(cost.workers)
    assert math.isnan(cost.service)
    assert report.mark_text(Figure("append", "µs", cost.server, "cpu", Mark(35, at_least=False)), cost.server) == ""


def test_what_the_parent_costs_may_stay_unknown() -> None:
    assert Cost(1, 1, 1.0, 2.0, math.nan, 3.0, 0.0, {}).service == 5.0


def test_command_statistics_lose_their_prefix_and_the_benchmarks_own_calls() -> None:
    info = {
        "cmdstat_xadd": {"calls": 3, "usec": 9, "usec_per_call": 3.0},
        "cmdstat_info": {"calls": 2, "usec": 100, "usec_per_call": 50.0},
    }
    assert parse_calls(info) == {"xadd": CallStat(3, 9.0)}
    assert calls_between({}, parse_calls(info)) == {"xadd": CallStat(3, 9.0)}


def test_a_mark_is_met_on_its_own_side() -> None:
    assert Mark(8000, at_least=True).met(8000)
    assert not Mark(35, at_least=False).met(35.1)


# Setup and options


def test_the_started_service_has_an_embedded_server_and_a_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INBOXD_REDIS_URL", "redis://somebody-elses")
    monkeypatch.setenv("INBOXD_DURABILITY", "fsynced")
    settings = environment(Setup(workers=1, own_copy=False), 4711, Path("data"), None, "secret")
    assert "INBOXD_REDIS_URL" not in settings
    assert settings["INBOXD_DURABILITY"] == "fsynced"
    assert settings["INBOXD_WORKERS"] == "1"
    assert settings["INBOXD_OWN_COPY"] == "off"


def test_every_subject_has_a_name_of_its_own_and_setups_are_not_started_twice() -> None:
    assert len({subject.name for subject in SUBJECTS}) == len(SUBJECTS)
    setups = [subject.setup for subject in SUBJECTS]
    changes = sum(one != other for one, other in pairwise(setups))
    assert changes == len(set(setups)) - 1


def test_a_running_service_is_measured_only_as_it_is() -> None:
    assert all(subject.anywhere for subject in chosen(None, any_server=True))
    only = parser().parse_args(["--only", "ws", "--only", "ws-one-worker"]).only
    assert [subject.name for subject in chosen(only, any_server=False)] == ["ws", "ws-one-worker"]


# The report


@pytest.fixture
def conditions() -> Conditions:
    machine = Machine("2027-01-01T00:00:00+00:00", "inboxd 0.1.0, commit abc", "CPython 3.11", "uvicorn 0.54",
                      "Linux", 2, 0.25, "ext4")  # fmt: skip
    server = ServerFacts("Valkey 9.1.2", "appendfsync always")
    return Conditions(machine, server, QUICK, Manners(), seed=1, loads=1, quick=True)


def one_run(sends: float, xadds: float) -> Run:
    cost = Cost(50_000, 100_000, 4.0, 2.0, 0.0, 3.0, 1.0, {"xadd": CallStat(100_000, 250_000.0)})
    figures = (
        Figure("accepted", "sends/s", sends, "rate", Mark(8000, at_least=True)),
        Figure("server CPU per append", "µs", 30.0, "cpu", Mark(35, at_least=False)),
        Figure("p99", "ms", math.nan),
    )
    result = Result(figures, cost, ("all 2 cores were full",))
    return Run({"2 workers": Reference(xadds, 5.0, None)}, {"ws": result}, {"ws": "2 workers"})


def test_the_report_shows_medians_ratios_marks_and_every_run(conditions: Conditions) -> None:
    lines = report.text(conditions, [one_run(7000, 100_000), one_run(9000, 90_000), one_run(8000, 100_000)])
    accepted = next(line.split() for line in lines.splitlines() if "sends/s" in line)
    # The ratio is the median of the runs' own ratios: 0.07, 0.1 and 0.08.
    assert accepted[3:] == [
        "8,000",
        "7,000",
        "9,000",
        "0.080",
        "-",
        "≥",
        "8,000",
        "met",
        "7,000",
        "9,000",
        "8,000",
    ]
    append = next(line.split() for line in lines.splitlines() if "per append" in line)
    assert append[4:] == ["µs", "30.0", "30.0", "30.0", "6.000", "-", "≤", "35", "met", "30.0", "30.0", "30.0"]
    assert "Valkey 9.1.2, appendfsync always, data on ext4" in lines
    assert "run 2, ws: all 2 cores were full" in lines


def test_the_report_gives_costs_per_100k_messages_and_calls_per_message(conditions: Conditions) -> None:
    lines = report.text(conditions, [one_run(7000, 100_000)]).splitlines()
    assert next(line.split() for line in lines if line.startswith("ws") and "%" in line) == [
        "ws", "4.00", "6.00", "0.00", "10.0", "2.00", "25%",
    ]  # fmt: skip
    assert next(line.split() for line in lines if " xadd " in line)[1:] == ["xadd", "2.00", "2.50", "5.00"]


def test_without_a_yardstick_there_are_figures_but_no_ratios(conditions: Conditions) -> None:
    run = one_run(7000, 1.0)
    run.references.clear()
    accepted = next(line for line in report.text(conditions, [run]).splitlines() if "sends/s" in line)
    assert accepted.split()[6:] == ["-", "-", "≥", "8,000", "missed"]


def test_the_json_file_has_every_number_and_null_for_the_unknown(tmp_path: Path, conditions: Conditions) -> None:
    report.write_json(tmp_path / "bench.json", conditions, [one_run(7000, 100_000)])
    content = orjson.loads((tmp_path / "bench.json").read_bytes())
    values = [figure["value"] for figure in content["runs"][0]["results"]["ws"]["figures"]]
    assert values == [7000, 30.0, None]
    assert content["conditions"]["machine"]["data_on"] == "ext4"


def test_numbers_are_as_long_as_they_are_meaningful() -> None:
    assert [report.number(value) for value in (1.234, 12.34, 12345.6, math.nan)] == [
        "1.23",
        "12.3",
        "12,346",
        "-",
    ]


async def eventually(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)
