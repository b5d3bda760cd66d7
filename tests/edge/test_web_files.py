"""What the chat page is made of: nothing inline, nothing from elsewhere, no text that becomes markup, none missing."""

import hashlib
import json
import re
from pathlib import Path
from posixpath import dirname, normpath

import pytest
from hatchling.builders.wheel import WheelBuilder

from service.edge.web import FOLDER, POLICY, assets
from tests.house.tree import ROOT

FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file())
TEXTS = [path for path in FILES if path.suffix != ".png" and path.name != "LICENSE"]
OURS = [path for path in FILES if path.suffix in {".mjs", ".css", ".html"} and not {"vendor", "sdk"} & set(path.parts)]
MODULES = [path for path in OURS if path.suffix == ".mjs"]
MOST_LINES = 260

NAMESPACES = ("http://www.w3.org/2000/svg",)
"""Names, not places: nothing is fetched from there."""


def named(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


def test_the_policy_lets_in_nothing_but_our_own_files() -> None:
    policy = {name: rest for name, _, rest in (part.strip().partition(" ") for part in POLICY.split(";"))}
    own = {"script-src", "style-src", "connect-src", "img-src", "manifest-src", "worker-src"}
    assert policy == dict.fromkeys(own, "'self'") | {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "inboxd",
    }


@pytest.mark.parametrize("path", OURS, ids=named)
def test_no_text_ever_becomes_markup_or_code(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|createContextualFragment|DOMParser", text)
    assert not re.search(r"\beval\(|new Function|setTimeout\([\"'`]|javascript:", text)


def test_the_page_has_no_inline_script_or_style() -> None:
    text = (FOLDER / "index.html").read_text()
    assert re.findall(r"<script\b(?![^>]*\bsrc=)[^>]*>|<style\b|\bstyle=|\bon\w+=", text) == []
    for path in MODULES:
        assert not re.search(r"\bstyle=\"|<style|setAttribute\(\"style", path.read_text()), path


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.suffix != ".png" and path.name != "LICENSE"], ids=named
)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    if path.parent.name == "sdk":
        text = text.partition("\n")[2]  # its first line says where its source is
    for name in NAMESPACES:
        text = text.replace(name, "")
    assert re.findall(r"(?:https?:|wss?:)?//[\w-]+\.[\w.-]+", text) == []
    assert "@import" not in text


def test_whatever_a_file_refers_to_is_there() -> None:
    missing = []
    for path in OURS:
        place = {"index.html": "/"}.get(named(path), f"/web/{named(path)}")
        for found in re.findall(r"(?:\bfrom|\bimport|href=|src=)\s*\"([^\"#$]+)\"", path.read_text()):
            url = found if found.startswith("/") else normpath(f"{dirname(place)}/{found}")
            if url not in assets():
                missing.append((named(path), url))
    assert missing == []


def test_the_manifest_names_icons_that_are_there_in_their_sizes() -> None:
    manifest = json.loads((FOLDER / "manifest.webmanifest").read_text())
    assert manifest["start_url"] in assets()
    for icon in manifest["icons"]:
        content = assets()[icon["src"]].content
        assert assets()[icon["src"]].media_type == icon["type"]
        if icon["type"] == "image/png":
            width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
            assert f"{width}x{height}" == icon["sizes"]
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}


def test_the_service_worker_names_every_file_the_page_needs_by_its_content() -> None:
    first = assets()["/sw.mjs"].content.decode().partition("\n")[0]
    shell = json.loads(first.removeprefix("const SHELL = ").removesuffix(";"))
    needed = {
        path for path in assets() if path == "/" or path.endswith((".mjs", ".css", ".svg", ".png", ".webmanifest"))
    }
    assert set(shell["files"]) == needed - {"/sw.mjs"}
    assert all(assets()[path].etag == etag for path, etag in shell["files"].items())
    assert re.fullmatch(r"[0-9a-f]{16}", shell["version"])


def test_a_changed_file_makes_another_service_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in FILES:
        (tmp_path / named(path)).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / named(path)).write_bytes(path.read_bytes())
    monkeypatch.setattr("service.edge.web.FOLDER", tmp_path)
    before = assets.__wrapped__()
    (tmp_path / "chat.css").write_text("body { color: red }")
    after = assets.__wrapped__()
    changed = {path for path in before if before[path].etag != after[path].etag}
    assert changed == {"/web/chat.css", "/sw.mjs"}


def test_what_is_not_ours_is_as_it_was_published_and_has_its_licence_beside_it() -> None:
    vendor = FOLDER / "vendor"
    sums = dict(line.split("  ")[::-1] for line in (vendor / "SHA256SUMS").read_text().splitlines())
    found = {path.relative_to(vendor).as_posix(): path for path in vendor.glob("*/*")}
    assert sums == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}
    assert {name for name in found if name.endswith("LICENSE")} == {
        f"{path.parent.name}/LICENSE" for path in found.values()
    }
    assert all(name in (vendor / "README.md").read_text() for name in found if name.endswith(".mjs"))


@pytest.mark.parametrize("path", OURS, ids=named)
def test_a_file_of_the_page_can_be_read_in_one_go(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= 140


def test_the_wheel_has_every_file() -> None:
    packed = {one.distribution_path for one in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {path.relative_to(ROOT).as_posix() for path in FILES} <= packed
