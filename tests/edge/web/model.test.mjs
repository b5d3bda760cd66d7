import assert from "node:assert/strict";
import { test } from "node:test";

import { MemoryStore } from "../../../service/web/memory.mjs";
import * as items from "../../../service/web/items.mjs";
import * as base from "../../../service/web/model.mjs";
import * as rows from "../../../service/web/rows.mjs";

const model = { ...base, ...rows, ...items };

const T = Date.UTC(2026, 4, 3, 12);
const message = (seq, from, to, more = {}) => ({
  type: "message", cursor: `${T + seq * 1000}-${seq}`, id: `m${seq}`, from, to, body: { text: `${seq}` }, ts: T + seq * 1000, ...more,
});
const record = (seq, from = "bob", to = "alice", more = {}) => model.recordsOf(message(seq, from, to, more), "alice")[0];
const item = (id, order, state = "queued", more = {}) => ({ id, to: "bob", body: { text: id }, order, createdAt: T + 90_000 + order, triedAt: null, state, ...more });
const row = (more = {}) => ({ ...model.blankRow("bob"), ...more });
const log = (more) => model.logItems({ me: "alice", row: row(), records: [], outbox: [], gaps: [], ...more });
const messages = (items) => items.filter((one) => one.kind === "message");
const kinds = (items) => items.map((one) => one.kind).join(" ");

test("places are compared as numbers, not as text", () => {
  assert.ok(model.compare(model.placeOf("9-9"), model.placeOf("10-1")) < 0);
  assert.ok(model.compare(model.placeOf("10-10"), model.placeOf("10-9")) > 0);
});

test("a message belongs to the other one's conversation, whoever wrote it", () => {
  assert.deepEqual(model.peersOf(message(1, "bob", "alice"), "alice"), ["bob"]);
  assert.deepEqual(model.peersOf(message(1, "alice", "bob"), "alice"), ["bob"]);
  assert.deepEqual(model.peersOf(message(1, "alice", "alice"), "alice"), ["alice"]);
});

test("a message to several is in each conversation, one of a group in the group's", () => {
  assert.deepEqual(model.peersOf(message(1, "alice", ["bob", "carol"]), "alice"), ["bob", "carol"]);
  assert.deepEqual(model.peersOf(message(1, "bob", ["alice", "carol"]), "alice"), ["bob"]);
  assert.deepEqual(model.peersOf(message(1, "bob", undefined, { group: "g" }), "alice"), ["#g"]);
});

test("a new message counts as unread once, one from history does not", () => {
  assert.equal(model.advance(row(), record(1), true).unread, 1);
  assert.equal(model.advance(row(), record(1), false).unread, 0);
  assert.equal(model.advance(row({ read: model.placed(record(5)) }), record(1), true).unread, 0);
});

test("whoever answers has read what was before", () => {
  const two = model.advance(model.advance(row(), record(1), true), record(2), true);
  assert.equal(two.unread, 2);
  const answered = model.advance(two, record(3, "alice", "bob"), true);
  assert.equal(answered.unread, 0);
  assert.equal(model.advance(two, record(0, "alice", "bob"), false).unread, 2, "an old one of history says nothing");
});

test("the last message is the newest, whatever comes in which order", () => {
  const late = model.advance(model.advance(row(), record(7), true), record(3), false);
  assert.equal(late.last.id, "m7");
});

test("an accepted message stands where its own copy will, and gives way to it", () => {
  const acceptance = { ts: T + 5000, recipients: [{ to: "bob", cursor: "1-1" }] };
  const [standIn] = model.recordsOfAccepted(item("m5", 1), acceptance, "alice");
  const copy = record(5, "alice", "bob");
  assert.equal(standIn.identity, copy.identity);
  assert.ok(model.compare(model.placed(copy), model.placed(standIn)) < 0);
  assert.ok(model.improves(copy, standIn));
  assert.ok(!model.improves(standIn, copy));
  assert.equal(model.advance(model.advance(row(), standIn, false), copy, false).last.seq, 5);
});

test("who refused has no such message", () => {
  const acceptance = { ts: T, recipients: [{ to: "bob", error: "inbox_full" }, { to: "carol", cursor: "1-1" }] };
  const made = model.recordsOfAccepted(item("x", 1, "sent", { to: ["bob", "carol"] }), acceptance, "alice");
  assert.deepEqual(made.map((one) => one.peer), ["carol"]);
});

test("states follow the receipts: up to the place, and not beyond", () => {
  const records = [1, 2, 3].map((seq) => record(seq, "alice", "bob"));
  const delivered = model.receipted(row(), "delivered", model.placed(records[1]));
  assert.deepEqual(messages(log({ row: delivered, records })).map((one) => one.state), ["delivered", "delivered", "accepted"]);
  const read = model.receipted(delivered, "read", model.placed(records[0]));
  assert.deepEqual(messages(log({ row: read, records })).map((one) => one.seen), [true, false, false]);
  assert.deepEqual(read.delivered, delivered.delivered, "an older receipt takes nothing back");
  assert.equal(messages(log({ records: [record(1)] }))[0].state, "received");
});

test("what waits is at the end in its order, in the states of the outbox", () => {
  const outbox = [item("a", 1, "failed", { error: { code: "too_large" } }), item("b", 2, "sent"), item("c", 3), item("d", 4, "stale"), item("e", 5, "queued", { to: "carol" })];
  const shown = messages(log({ records: [record(1)], outbox }));
  assert.deepEqual(shown.map((one) => [one.id, one.state]), [["m1", "received"], ["a", "failed"], ["b", "queued"], ["c", "queued"], ["d", "stale"]]);
  assert.deepEqual(shown.map((one) => one.sending ?? false), [false, false, true, false, false]);
});

test("what is stored already is not shown a second time while it waits for its answer", () => {
  const shown = messages(log({ records: [record(5, "alice", "bob")], outbox: [item("m5", 1, "sent")] }));
  assert.deepEqual(shown.map((one) => one.state), ["accepted"]);
});

test("a message keeps its key from the outbox to the log, so that nothing is drawn anew", () => {
  const [waiting] = messages(log({ outbox: [item("m5", 1)] }));
  const [accepted] = messages(log({ records: [record(5, "alice", "bob")] }));
  assert.equal(waiting.key, accepted.key);
});

test("each day begins with a divider", () => {
  const day = 86_400_000;
  const records = [record(1), record(2), record(3, "bob", "alice", { ts: T + day, cursor: `${T + day}-3` })];
  assert.equal(kinds(log({ records })), "day message message day message");
});

test("messages of one person in one go follow each other", () => {
  const records = [record(1), record(2), record(3, "alice", "bob"), record(1000)];
  assert.deepEqual(messages(log({ records })).map((one) => one.follows), [undefined, true, false, false].map(Boolean));
});

test("a gap stands at its place", () => {
  const gap = (seq, reason) => ({ place: [T + seq * 1000, seq], missing: 2, reason });
  const records = [record(1), record(4)];
  assert.equal(kinds(log({ records, gaps: [gap(3, "expired")] })), "day message gap message");
  assert.equal(kinds(log({ records, gaps: [gap(9, "rewound")] })), "day message message gap");
});

test("a gap before what is loaded waits for the beginning", () => {
  const gaps = [{ place: [1, 1], missing: 1, reason: "trimmed" }];
  assert.equal(kinds(log({ records: [record(4)], gaps })), "day message");
  assert.equal(kinds(log({ records: [record(4)], gaps, atStart: true })), "gap day message");
});

test("where the unread ones began is marked once, and not before one's own", () => {
  const records = [record(1), record(2, "alice", "bob"), record(3), record(4)];
  assert.equal(kinds(log({ records, newAfter: model.placed(records[0]) })), "day message message new message message");
  assert.equal(kinds(log({ records, newAfter: model.placed(records[3]) })), "day message message message message");
});

test("conversations are sorted by their last message, those without one by name", () => {
  const rows = [model.blankRow("zoe"), row({ last: record(1) }), model.blankRow("ann"), { ...row({ last: record(2) }), peer: "carol" }];
  assert.deepEqual(model.sortedRows(rows).map((one) => one.peer), ["carol", "bob", "ann", "zoe"]);
});

test("the title has the number of unread ones and no name", () => {
  assert.equal(model.titleOf(0), "inboxd");
  assert.equal(model.titleOf(model.unreadOf([row({ unread: 2 }), row({ unread: 1 })])), "(3) inboxd");
});

test("the store of a browser that keeps nothing takes each message once", async () => {
  const store = new MemoryStore();
  await store.put([record(1), record(2)], { counts: true });
  assert.deepEqual(await store.put([record(2)], { counts: true }), { records: [], rows: [] });
  assert.equal((await store.row("bob")).unread, 2);
  assert.deepEqual((await store.page("bob", null, 1)).map((one) => one.id), ["m2"]);
  assert.deepEqual((await store.page("bob", model.placed(record(2)), 9)).map((one) => one.id), ["m1"]);
  assert.deepEqual((await store.after("bob", model.placed(record(1)))).map((one) => one.id), ["m2"]);
});

test("only names of the protocol are names", () => {
  for (const name of ["a", "a.b_c-d@e:f+g", "x".repeat(128)]) assert.ok(model.NAME.test(name), name);
  for (const name of ["", "a b", "<img>", "x".repeat(129), "ä", "a\n", "a\u202e"]) assert.ok(!model.NAME.test(name), name);
});

test("what waits counts for the place in the list", () => {
  const rows = [row({ last: record(1) }), { ...row({ last: record(2) }), peer: "carol" }];
  const outbox = [item("a", 1), item("b", 2)];
  assert.equal(model.lastWaiting(outbox, "bob").id, "b");
  assert.equal(model.lastWaiting(outbox, "carol"), undefined);
  assert.deepEqual(model.sortedRows(rows, outbox).map((one) => one.peer), ["bob", "carol"]);
});

test("what has waited for days brings no second divider, and every key stands once", () => {
  const outbox = [item("old", 1, "stale", { createdAt: T - 3 * 86_400_000 }), item("new", 2)];
  const items = log({ records: [record(1), record(2)], outbox, gaps: [{ place: [T + 1500, 1], missing: 1, reason: "expired" }] });
  assert.equal(kinds(items), "day message gap message message message");
  assert.equal(new Set(items.map((one) => one.key)).size, items.length);
});

test("what history brought first counts as unread when it is delivered, and once, whichever tab takes it", async () => {
  const store = new MemoryStore();
  await store.put([record(1), record(2)], { counts: false });
  assert.equal((await store.row("bob")).unread, 0);
  await store.put([record(1)], { counts: true });
  await store.put([record(2)], { counts: true });
  assert.deepEqual(await store.put([record(2)], { counts: true }), { records: [], rows: [] });
  assert.deepEqual(await store.put([record(2)], { counts: false }), { records: [], rows: [] });
  assert.equal((await store.row("bob")).unread, 2);
  assert.equal((await store.page("bob", null, 9)).length, 2);
});

test("one's own copy keeps its place, whatever comes again", () => {
  const acceptance = { ts: T + 5000, recipients: [{ to: "bob", cursor: "1-1" }] };
  const [standIn] = model.recordsOfAccepted(item("m5", 1), acceptance, "alice");
  const copy = record(5, "alice", "bob");
  assert.equal(model.kept(copy, { ...standIn, counted: false }, true).record.seq, 5);
  assert.equal(model.kept(standIn, { ...copy, counted: true }, false), null);
  assert.equal(model.kept(copy, { ...copy, counted: true }, true), null);
});
