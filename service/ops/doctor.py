"""Does the server keep what the service promises? Facts are judged here, without I/O."""

from dataclasses import dataclass, replace
from typing import Literal

from service.ops import queries
from service.ops.facts import Facts, gather, word
from service.ops.queries import WorkerView
from service.store.keys import Keys
from service.store.link import Link
from service.store.preflight import server_facts

Level = Literal["ok", "warn", "fail"]

OLDEST_SERVER = (7, 0)
SKEW_NOTED = 1000
"""ms between this host's clock and the server's. Nothing is lost by it, but times in logs do not match."""
MEMORY_NOTED, MEMORY_LOW = 0.8, 0.95
KIB = 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `change` is a command to type, empty where nothing is to do."""

    check: str
    level: Level
    found: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the settings ask for, and how a person reaches the server.

    `cli`: the `redis-cli` command line, without a password. `dead_after`: seconds.
    """

    keys: Keys
    cli: str
    durability: str
    dead_after: float


async def examine(client: Link, asked: Asked) -> list[Finding]:
    """Every check, in the order of the page, for every primary. Raises Unavailable when one cannot be asked."""
    workers = await queries.workers(client, asked.keys)
    facts = [(address, await gather(server, workers)) for address, server in await client.primaries()]
    if len(facts) == 1:
        return judge(facts[0][1], asked)
    found = [_of(address, finding) for address, one in facts for finding in judge_server(one, asked)]
    return [*found, *_heartbeats(facts[0][1], asked)]


def _of(address: str, finding: Finding) -> Finding:
    return replace(finding, check=f"{address} {finding.check}")


def judge(facts: Facts, asked: Asked) -> list[Finding]:
    """Pure: the same facts, the same findings."""
    return [*judge_server(facts, asked), *_heartbeats(facts, asked)]


def judge_server(facts: Facts, asked: Asked) -> list[Finding]:
    """What concerns the server alone."""
    return [
        _version(facts),
        _role(facts),
        _mode(facts),
        _aof(facts, asked),
        _fsync(facts, asked),
        _rewrite(facts, asked),
        _aof_writes(facts, asked),
        _eviction(facts, asked),
        _memory(facts, asked),
        _clock(facts),
        _scripts_found(facts, asked),
    ]


def _version(facts: Facts) -> Finding:
    flavour = word(facts.info.get("server_name", "redis"))
    text = word(facts.info.get("valkey_version") or facts.info.get("redis_version") or "0")
    parts = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if parts >= OLDEST_SERVER:
        return Finding("server", "ok", f"{flavour} {text}")
    return Finding("server", "fail", f"{flavour} {text} is older than 7.0", "install valkey 9, or redis 7 or newer")


def _role(facts: Facts) -> Finding:
    role = word(facts.info.get("role", "unknown"))
    if role == "master":
        return Finding("role", "ok", "primary")
    host, port = facts.info.get("master_host", "?"), facts.info.get("master_port", "?")
    return Finding("role", "fail", f"{role}: it takes no writes", f"INBOXD_REDIS_URL=redis://{host}:{port}/0")


def _mode(facts: Facts) -> Finding:
    mode = word(facts.info.get("redis_mode") or facts.info.get("server_mode") or "standalone")
    if mode in ("standalone", "cluster"):
        return Finding("mode", "ok", mode)
    return Finding("mode", "fail", f"{mode}: it holds no data", "INBOXD_REDIS_URL=redis+sentinel://HOST:PORT/NAME")


def _aof(facts: Facts, asked: Asked) -> Finding:
    if str(facts.info.get("aof_enabled")) == "1":
        return Finding("appendonly", "ok", "yes")
    found = "no: a restart of the server loses accepted messages"
    return Finding("appendonly", "fail", found, _set(facts, asked, "appendonly yes"))


def _fsync(facts: Facts, asked: Asked) -> Finding:
    name, value = "appendfsync", facts.config.get("appendfsync")
    if value is None:
        return _unread(name, "always")
    if value == "always":
        return Finding(name, "ok", value)
    if asked.durability == "fsynced" and server_facts(facts.info, facts.config).waits_for_fsync:
        why = "every acceptance waits for the next fsync (WAITAOF), up to a second or two"
        return Finding(name, "warn", f"{value}: {why}", _set(facts, asked, "appendfsync always"))
    if asked.durability == "fsynced":
        why = "INBOXD_DURABILITY=fsynced promises more"
        return Finding(name, "fail", f"{value}: {why}", _set(facts, asked, "appendfsync always"))
    lost = "the last seconds" if value == "everysec" else "what the system had not yet written"
    return Finding(
        name,
        "warn",
        f"{value}: a power cut loses {lost}, replies say `appended`",
        _set(facts, asked, "appendfsync always"),
    )


def _rewrite(facts: Facts, asked: Asked) -> Finding:
    name = "no-appendfsync-on-rewrite"
    value = facts.config.get(name)
    if value is None:
        return _unread(name, "no")
    if value == "no":
        return Finding(name, "ok", value)
    level: Level = "fail" if asked.durability == "fsynced" else "warn"
    return Finding(name, level, f"{value}: nothing is fsynced during a rewrite", _set(facts, asked, f"{name} no"))


def _aof_writes(facts: Facts, asked: Asked) -> Finding:
    wrote = word(facts.info.get("aof_last_write_status", "ok"))
    rewrote = word(facts.info.get("aof_last_bgrewrite_status", "ok"))
    if wrote != "ok":
        return Finding("aof writes", "fail", f"the last write: {wrote} (disk full?)", "df -h")
    if rewrote != "ok":
        found = f"the last rewrite: {rewrote} (no memory or disk for it?)"
        return Finding("aof writes", "warn", found, f"{asked.cli} BGREWRITEAOF")
    return Finding("aof writes", "ok", "the last write and the last rewrite went well")


def _eviction(facts: Facts, asked: Asked) -> Finding:
    name = "maxmemory-policy"
    policy = facts.config.get(name) or word(facts.info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return Finding(name, "ok", policy)
    return Finding(name, "fail", f"{policy}: may throw inboxes away", _set(facts, asked, f"{name} noeviction"))


def _memory(facts: Facts, asked: Asked) -> Finding:
    used, most = int(facts.info.get("used_memory", 0)), int(facts.info.get("maxmemory", 0))
    if not most:
        return Finding("memory", "ok", f"{_size(used)} used, no limit set")
    share, found = used / most, f"{_size(used)} of {_size(most)} used"
    if share < MEMORY_NOTED:
        return Finding("memory", "ok", found)
    level: Level = "warn" if share < MEMORY_LOW else "fail"
    return Finding(
        "memory",
        level,
        f"{found}: when it is full, sends answer 503",
        _set(facts, asked, f"maxmemory {most * 2}"),
    )


def _clock(facts: Facts) -> Finding:
    way = "ahead of" if facts.skew >= 0 else "behind"
    found = f"this host is {abs(facts.skew)} ms {way} the server (give or take {facts.doubt} ms)"
    if abs(facts.skew) - facts.doubt < SKEW_NOTED:
        return Finding("clock", "ok", found)
    return Finding("clock", "warn", found, "timedatectl set-ntp true")


def _scripts_found(facts: Facts, asked: Asked) -> Finding:
    wrong = {name: state for name, state in facts.scripts.items() if state not in ("present", "loaded")}
    if wrong:
        name, why = next(iter(wrong.items()))
        return Finding("scripts", "fail", f"{name}: {why}", f"{asked.cli} ACL SETUSER {facts.login} +@scripting")
    loaded = sum(state == "loaded" for state in facts.scripts.values())
    note = f", {loaded} of them loaded just now" if loaded else ""
    return Finding("scripts", "ok", f"all {len(facts.scripts)} present{note}")


def _heartbeats(facts: Facts, asked: Asked) -> list[Finding]:
    if not facts.workers:
        return [Finding("workers", "warn", "none", "inboxd serve")]
    return [_heartbeat(worker, asked) for worker in facts.workers]


def _heartbeat(worker: WorkerView, asked: Asked) -> Finding:
    name, age = f"worker {worker.worker}", worker.heartbeat_age_ms
    if age is None:
        look = f"{asked.cli} HGETALL '{asked.keys.about(worker.worker)}'"
        return Finding(name, "warn", "has not told when it last beat", look)
    if age <= asked.dead_after * 1000:
        return Finding(name, "ok", f"beat {age} ms ago")
    found = f"last beat {age / 1000:.0f} s ago: dead or paused; a living worker takes over its claims"
    return Finding(name, "warn", found, f"ps -fp {worker.pid}  # on {worker.host}")


def _set(facts: Facts, asked: Asked, setting: str) -> str:
    """A server started without a configuration file cannot write one: there the next start needs a flag."""
    command = f"{asked.cli} CONFIG SET {setting}"
    if facts.info.get("config_file"):
        return f"{command} && {asked.cli} CONFIG REWRITE"
    return f"{command}  # and start the server with --{setting}"


def _unread(name: str, wanted: str) -> Finding:
    return Finding(name, "warn", "CONFIG is not allowed here", f"set {name} {wanted} at your provider")


def _size(count: float) -> str:
    units = iter(("bytes", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while count >= KIB and (larger := next(units, None)):
        count, unit = count / KIB, larger
    return f"{count:.4g} {unit}"
