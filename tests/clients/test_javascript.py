"""The JavaScript client by itself: its own tests, its size, its types, and what is packed of it."""

import gzip
import json
import re
from pathlib import Path

import pytest

from scripts.tools import NO_NODE, Node, node
from tests.clients import javascript

ROOT = Path(__file__).parents[2]
SDK = ROOT / "service" / "web" / "sdk"
BUNDLES = ("inboxd.mjs", "inboxd-http.mjs")
MOST_BYTES = {"inboxd.mjs": 11 * 1024, "inboxd-http.mjs": 1536}
"""Of each bundle, compressed as servers do it. What an application must load is the first."""


@pytest.fixture(scope="module")
def built() -> Node:
    """A Node.js, once the client is built."""
    found = node()
    if found is None:
        pytest.skip(NO_NODE)
    javascript.prepare(found)
    return found


def said(node: Node, *command: str) -> str:
    done = javascript.run(node, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_unit_tests_pass(built: Node) -> None:
    files = sorted(str(path) for path in javascript.CLIENT.glob("test/*.test.mjs"))
    told = said(built, "--test", "--test-reporter=tap", *files)
    passed = re.search(r"^# pass (\d+)$", told, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) > len(files)


@pytest.mark.parametrize("name", BUNDLES)
def test_the_committed_bundle_is_what_the_sources_build(built: Node, name: str) -> None:
    fresh = (javascript.prepare(built) / "dist" / name).read_bytes()
    assert (SDK / name).read_bytes() == fresh, "`npm run build` in clients/js, and commit"


@pytest.mark.parametrize("name", BUNDLES)
def test_the_bundle_is_small_and_needs_nothing(name: str) -> None:
    """The second takes the class of its errors from the first."""
    text = (SDK / name).read_bytes()
    assert len(gzip.compress(text, 9, mtime=0)) <= MOST_BYTES[name]
    wanted = re.findall(rb"^import\b[^;]*|\bimport\(|\brequire\(|\bfrom ?\"[^\"]*\"", text, re.MULTILINE)
    assert len(wanted) == (name != "inboxd.mjs")
    assert all(re.fullmatch(rb'import\{InboxError as \w+\}from"./inboxd.mjs"', found) for found in wanted)
    banner, code, end = text.decode().split("\n")
    assert re.fullmatch(r"/\* inboxd-client \S+, Apache-2\.0; .*clients/js.* \*/", banner)
    assert code
    assert not end


def test_the_examples_hold_under_strict_types(built: Node) -> None:
    said(built, "node_modules/typescript/bin/tsc", "-p", "examples")


def test_the_package_is_one_that_tools_can_read(built: Node) -> None:
    assert "All good" in said(built, "node_modules/publint/src/cli.js", "--strict")
    attw = said(built, "node_modules/@arethetypeswrong/cli/dist/index.js", "--pack", ".", "--profile", "esm-only")
    assert attw.count("🟢 (ESM)") == len(("inboxd-client", "http", "react", "node"))


def test_the_package_needs_nothing_at_run_time() -> None:
    package = json.loads((javascript.CLIENT / "package.json").read_text())
    assert "dependencies" not in package
    assert package["license"] == "Apache-2.0"


def test_the_lock_file_names_no_registry() -> None:
    lock = (javascript.CLIENT / "package-lock.json").read_text()
    assert "://" not in re.sub(r'"url": "[^"]*"', "", lock)  # those are of people who ask for support
