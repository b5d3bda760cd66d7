import assert from "node:assert/strict";
import { test } from "node:test";

import * as text from "../../../service/web/text.mjs";
import { peerOf } from "../../../service/web/hash.mjs";
import { asked, subjectOf } from "../../../service/web/who.mjs";

test("a body is its text, or else compact JSON", () => {
  assert.equal(text.bodyText({ text: "hi" }), "hi");
  assert.equal(text.bodyText({ text: "hi", more: 1 }), "hi");
  for (const [body, shown] of [[null, "null"], ["hi", '"hi"'], [[1, 2], "[1,2]"], [{ text: 1 }, '{"text":1}'], [0, "0"], [false, "false"]]) {
    assert.equal(text.bodyText(body), shown);
  }
});

test("what cannot be seen does nothing: line ends and tabs stay", () => {
  assert.equal(text.visible("a\r\nb\rc\n\td"), "a\nb\nc\n\td");
  assert.equal(text.visible("\u0000\u0007\u001b[31m\u007f\u0085\u202e"), "\ufffd\ufffd\ufffd[31m\ufffd\ufffd\ufffd");
  assert.equal(text.bodyText({ text: "<img src=x onerror=alert(1)>" }), "<img src=x onerror=alert(1)>");
});

test("a line of it has no line ends and is short", () => {
  assert.equal(text.snippet({ text: "  a\n\n b  " }), "a b");
  assert.ok(text.snippet({ text: "x".repeat(9999) }).length <= 140);
});

test("days are told as people do", () => {
  const now = new Date(2026, 4, 3, 0, 30).getTime();
  assert.equal(text.day(now - 60_000, now), "Today");
  assert.equal(text.day(now - 3_600_000, now), "Yesterday");
  assert.match(text.day(new Date(2026, 0, 7).getTime(), now), /7/);
  assert.match(text.day(new Date(2024, 0, 7).getTime(), now), /2024/);
});

test("the countdown counts whole seconds and never below", () => {
  assert.equal(text.retryText(3100, 1000), "next try in 3 s");
  assert.equal(text.retryText(1001, 1000), "next try in 1 s");
  assert.equal(text.retryText(900, 1000), "trying now");
});

test("one is not many", () => {
  assert.equal(text.count(1, "repeat", "repeats"), "1 repeat");
  assert.equal(text.count(0, "repeat", "repeats"), "0 repeats");
  assert.match(text.gapText({ missing: 1, reason: "expired" }), /^1 message .* is missing here: expired/);
  assert.match(text.gapText({ missing: 3, reason: "trimmed" }), /^3 messages .* are missing here: no longer kept/);
  assert.match(text.gapText({ missing: null, reason: "rewound" }), /lost a part of its history/);
  assert.match(text.gapText({ missing: null, reason: "constructor" }), /^Some messages/);
});

test("refusals are told in words, unknown ones by what the service says", () => {
  assert.equal(text.refusal({ code: "inbox_full", message: "x" }), "their inbox is full");
  assert.equal(text.refusal({ code: "new_code", message: "as told" }), "as told");
  assert.equal(text.refusal(undefined), "refused");
  assert.equal(text.refusal({ code: "constructor", message: "as told" }), "as told");
});

test("every state of a message and of the connection has its words", () => {
  for (const state of ["queued", "sent", "accepted", "delivered", "seen", "failed", "stale"]) assert.equal(text.STATES[state].length, 2);
  for (const state of ["idle", "connecting", "replaying", "live", "reconnecting", "offline", "closed", "failed"]) assert.ok(text.CONNECTION[state]);
});

test("faces have letters and one of eight colours", () => {
  assert.equal(text.initials("alice"), "AL");
  assert.equal(text.initials("@:+"), "·");
  for (const name of ["a", "bob", "zoe@example"]) assert.ok(Number.isInteger(text.hueOf(name)) && text.hueOf(name) >= 0 && text.hueOf(name) < 8);
});

test("the address names a user and a device, or nobody", () => {
  assert.deepEqual(asked("?user=alice&device=web"), { user: "alice", device: "web" });
  assert.deepEqual(asked("?user=%3Cscript%3E&device=a%20b"), { user: null, device: null });
  assert.deepEqual(asked(""), { user: null, device: null });
});

test("the address names a conversation, a group's too, or none", () => {
  assert.equal(peerOf("#bob"), "bob");
  assert.equal(peerOf("#%23team"), "#team");
  for (const hash of ["", "#", "#%", "#a%20b", "#%3Cimg%3E"]) assert.equal(peerOf(hash), null, hash);
});

test("a token's user is read, and nothing is a token but one", () => {
  const part = (value) => btoa(JSON.stringify(value)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  assert.equal(subjectOf(`${part({ alg: "HS256" })}.${part({ sub: "alice" })}.x`), "alice");
  for (const token of ["", "x", "a.b.c", `x.${part({ sub: "a b" })}.x`, `x.${part({})}.x`, `x.${part(null)}.x`]) assert.equal(subjectOf(token), null, token);
});

test("where things are kept is told, and plainly where they are not", () => {
  assert.equal(text.keptText(null, true), "Kept in this browser");
  assert.equal(text.keptText({ kind: "indexeddb", durable: true }, true), "Kept in this browser (IndexedDB)");
  assert.match(text.keptText({ kind: "memory", durable: false }, true), /^Kept in memory only/);
  assert.match(text.keptText({ kind: "localstorage", durable: true }, false), /^Messages are kept in memory only/);
});
