"""edge → delivery → store → core: who may import what."""

import re
import sys
import tomllib

from tests.house.tree import ROOT, Module, modules

# What a layer (or a module beside the layers) may import of the service, besides itself.
MAY_IMPORT = {
    "core": set[str](),
    "store": {"core", "config"},
    "delivery": {"store", "core", "config", "telemetry"},
    "edge": {"delivery", "store", "core", "ops", "config", "telemetry"},
    "ops": {"store", "core", "config", "data_dir"},
    "config": {"core"},
    "telemetry": {"config"},
    # The parent's own parts.
    "leash": set[str](),
    "server_binary": {"core"},
    "data_dir": {"core", "server_binary"},
    "child": {"leash"},
    "embedded": {"core", "child", "data_dir", "server_binary"},
    "listening": {"core"},
    "worker_process": {"child", "config"},
    "worker_slot": {"core", "child", "config", "worker_process"},
    "welcome": {"config", "ops"},
}

# These put the parts together, and may import all of them. Nothing imports them but each other.
COMPOSE = {"app", "worker", "supervisor", "cli"}

# Libraries that belong to some layers alone.
BELONGS_TO = {
    "redis": {"store"},
    "hiredis": {"store"},
    "fastapi": {"edge", "app"},
    "starlette": {"edge", "app"},
    "uvicorn": {"edge", "worker"},
    "prometheus_client": {"telemetry", "worker_slot"},
    "typer": {"ops", "cli"},
    "rich": {"ops"},
    "httpx2": {"ops", "edge", "delivery"},  # key sets of tokens; push
    "jwt": {"edge", "ops"},
    "cryptography": {"edge"},
}

# The core has no clock, no randomness and no input or output: everything it needs is passed in.
CORE_NEEDS_ONLY = {
    "collections", "dataclasses", "enum", "functools", "hashlib", "itertools", "json", "math", "re", "typing",
    "orjson", "pydantic",
}  # fmt: skip

SERVICE = [module for module in modules("service") if module.name != "service/__init__"]


def top(dotted: str) -> str:
    return dotted.split(".", maxsplit=1)[0]


def layer(dotted: str) -> str:
    return dotted.split(".")[1]


def test_a_module_imports_only_its_own_layer_and_those_below() -> None:
    parts = [module for module in SERVICE if module.layer not in COMPOSE]
    assert [module.name for module in parts if module.layer not in MAY_IMPORT] == [], "no place among the layers yet"
    wrong = {module.name: layers_of(module) - {module.layer} - MAY_IMPORT[module.layer] for module in parts}
    assert {name: layers for name, layers in wrong.items() if layers} == {}


def layers_of(module: Module) -> set[str]:
    return {layer(name) for name in module.imports() if top(name) == "service" and "." in name}


def libraries_of(module: Module) -> set[str]:
    return {top(name) for name in module.imports()} - {"service"}


def test_a_library_is_used_only_where_it_belongs() -> None:
    used = [(module, library) for module in SERVICE for library in libraries_of(module) & set(BELONGS_TO)]
    assert {library for _, library in used} == set(BELONGS_TO)
    assert [f"{library} in {module.name}" for module, library in used if module.layer not in BELONGS_TO[library]] == []


def test_the_core_is_pure() -> None:
    core = {module.name: libraries_of(module) - CORE_NEEDS_ONLY for module in SERVICE if module.layer == "core"}
    assert {name: libraries for name, libraries in core.items() if libraries} == {}


def declared() -> set[str]:
    """What pyproject.toml installs, by the names it is imported under."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[^\w-]", requirement)[0].replace("-", "_") for requirement in project["dependencies"]}
    return names | {"starlette", "hiredis", "jwt", "cryptography"}  # of fastapi, redis[hiredis], pyjwt[crypto]


def test_nothing_imports_a_library_that_is_not_declared() -> None:
    known = declared() | sys.stdlib_module_names
    foreign = {module.name: libraries_of(module) - known for module in SERVICE}
    assert {name: libraries for name, libraries in foreign.items() if libraries} == {}


def test_every_layer_of_the_table_exists() -> None:
    assert {module.layer for module in SERVICE} >= set(MAY_IMPORT) | COMPOSE
