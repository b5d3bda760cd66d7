import assert from "node:assert/strict";
import { test } from "node:test";

import { logItems } from "../../../service/web/items.mjs";
import { MemoryStore } from "../../../service/web/memory.mjs";
import * as model from "../../../service/web/model.mjs";
import * as rows from "../../../service/web/rows.mjs";
import * as text from "../../../service/web/text.mjs";

const T = Date.UTC(2026, 4, 3, 12);
const ME = "alice";
const at = (seq) => ({ cursor: `${T + seq * 1000}-${seq}`, ts: T + seq * 1000 });
const own = (seq) => model.recordsOf({ type: "message", id: `m${seq}`, from: ME, to: "bob", body: 1, ...at(seq) }, ME)[0];
const inGroup = (seq, from = "bob") => ({ type: "message", id: `m${seq}`, from, group: "g", seq, body: { text: `${seq}` }, ...at(seq) });
const event = (seq, event, user, by, more = {}) => ({ type: "group", id: `g:${seq}`, group: "g", seq, event, user, by, ...at(seq), ...more });

async function told(entries) {
  const store = new MemoryStore();
  for (const entry of entries) await store.put(model.recordsOf(entry, ME), { counts: true });
  return { row: await store.row("#g"), records: await store.page("#g", null, 99) };
}

test("a receipt that comes before its message is stored counts as soon as it is", async () => {
  const [store, identity] = [new MemoryStore(), model.identityOf(ME, "m5")];
  await store.change("bob", (row) => rows.owing(rows.owing(row, "read", identity), "read", identity), identity);
  assert.equal((await store.row("bob")).owed.length, 1, "however often it comes");
  await store.put([own(4)], { counts: true });
  assert.equal((await store.row("bob")).seen, null);
  await store.put([own(5)], { counts: true });
  const row = await store.row("bob");
  assert.deepEqual([row.seen, row.delivered, row.owed], [model.placed(own(5)), model.placed(own(5)), []]);
});

test("a receipt for a message whose own copy has not come holds when it comes", async () => {
  const store = new MemoryStore();
  const item = { id: "m5", to: "bob", body: 1, order: 1, createdAt: T };
  const [standIn] = model.recordsOfAccepted(item, { ts: T + 5000, recipients: [{ to: "bob", cursor: "1-1" }] }, ME);
  await store.put([standIn], { counts: false });
  await store.change("bob", (row, record) => rows.receipted(row, "read", model.placed(record)), standIn.identity);
  await store.put([own(5), { ...own(6), ms: T + 5000 }], { counts: true });
  const shown = logItems({ me: ME, row: await store.row("bob"), records: await store.page("bob", null, 9), outbox: [], gaps: [] });
  assert.deepEqual(shown.filter((one) => one.kind === "message").map((one) => one.seen), [true, false]);
});

test("what is owed does not grow for ever", () => {
  let row = rows.blankRow("bob");
  for (let number = 0; number < 1000; number++) row = rows.owing(row, "read", `${number}`);
  assert.ok(row.owed.length < 100);
});

test("a group's name and one's place in it follow the newest event, whatever comes in which order", async () => {
  const story = [event(1, "created", "bob", "bob", { name: "One" }), event(2, "renamed", "bob", "bob", { name: "Two" }), event(3, "left", ME, "bob"), event(4, "joined", ME, "bob"), event(5, "left", "carol", "carol")];
  for (const order of [story, story.toReversed(), [...story, ...story]]) {
    const { row, records } = await told(order);
    assert.equal(rows.nameOf(row), "Two");
    assert.ok(rows.mayWrite(row));
    assert.equal(row.unread, 0, "nobody has to read that");
    assert.deepEqual(records.map((one) => one.event), ["created", "renamed", "left", "joined", "left"]);
  }
  assert.ok(rows.mayWrite((await told([story[3], story[2]])).row));
  assert.ok(!rows.mayWrite((await told([...story, event(6, "left", ME, ME)])).row));
  assert.ok(!rows.mayWrite((await told([...story, event(6, "deleted", "bob", "bob")])).row));
});

test("a group without a name is called by its id, and somebody by their own name", () => {
  assert.equal(rows.nameOf(rows.blankRow("#g")), "g");
  assert.equal(rows.nameOf(rows.blankRow("bob")), "bob");
  assert.equal(rows.nameOf(rows.described(rows.blankRow("#g"), { name: "Team", owner: ME, members: [ME] })), "Team");
});

test("what was read elsewhere of a group does not count when it comes", async () => {
  const store = new MemoryStore();
  await store.change("#g", (row) => ({ ...row, readN: 2 }));
  for (const seq of [1, 2, 3]) await store.put(model.recordsOf(inGroup(seq), ME), { counts: true });
  assert.equal((await store.row("#g")).unread, 1);
});

test("a group's message is delivered when all others have it, and read when all have read it", () => {
  const mark = (user, delivered, read) => ({ user, delivered: delivered && { seq: delivered }, read: read && { seq: read } });
  const shown = (...marks) => {
    const row = rows.marked(rows.blankRow("#g"), [mark(ME, null, null), ...marks]);
    const [item] = logItems({ me: ME, row, records: model.recordsOf(inGroup(5, ME), ME), outbox: [], gaps: [] }).filter((one) => one.kind === "message");
    return [item.state, item.seen, item.group && text.groupStateText(item.group)];
  };
  assert.deepEqual(shown(), ["accepted", false, null]);
  assert.deepEqual(shown(mark("bob", 4, 4), mark("eve", null, null)), ["accepted", false, "accepted"]);
  assert.deepEqual(shown(mark("bob", 5, null), mark("eve", 4, 4)), ["accepted", false, "delivered to 1 of 2"]);
  assert.deepEqual(shown(mark("bob", 5, 5), mark("eve", 9, 4)), ["delivered", false, "read by 1 of 2"]);
  assert.deepEqual(shown(mark("bob", 5, 5), mark("eve", null, 7)), ["delivered", true, "read by 2 of 2"]);
});

test("marks never go back, and whoever left has none", () => {
  const first = rows.marked(rows.blankRow("#g"), [{ user: "bob", delivered: { seq: 5 }, read: { seq: 5 } }, { user: "eve", delivered: null, read: null }]);
  const then = rows.marked(first, [{ user: "bob", delivered: { seq: 4 }, read: null }]);
  assert.deepEqual(then.marks, { bob: { delivered: 5, read: 5 } });
});

test("a row of an older page has what this one needs", () => {
  const row = rows.rowOf("bob", { peer: "bob", last: null, unread: 2, read: null, delivered: null, seen: null, draft: "x" });
  assert.deepEqual([row.unread, row.draft, row.owed, row.blocked], [2, "x", [], false]);
});

test("what happened to a group is told as the reader would", () => {
  const say = (name, user, by, more) => text.eventText({ event: name, user, by, ...more }, ME);
  assert.equal(say("created", "bob", "bob", { name: "Team" }), "bob created the group “Team”");
  assert.equal(say("joined", "carol", ME), "You added carol");
  assert.equal(say("joined", ME, "bob"), "bob added you");
  assert.equal(say("joined", "bob", "bob"), "bob joined");
  assert.equal(say("left", "bob", "bob"), "bob left");
  assert.equal(say("left", ME, ME), "You left");
  assert.equal(say("left", ME, "bob"), "bob removed you");
  assert.equal(say("renamed", "bob", "bob", { name: "New" }), "bob called the group “New”");
  assert.equal(say("deleted", "bob", "bob"), "bob deleted the group");
  assert.equal(say("constructor", "bob", "bob"), "bob constructor");
});

test("who is typing and who is there is told in words", () => {
  assert.equal(text.typingText([]), "");
  assert.equal(text.typingText(["bob"]), "bob is typing…");
  assert.equal(text.typingText(["bob", "eve"]), "bob and eve are typing…");
  assert.equal(text.typingText(["a", "b", "c"]), "3 people are typing…");
  const now = new Date(2026, 4, 3, 12).getTime();
  assert.equal(text.presenceText(undefined), "");
  assert.equal(text.presenceText({ status: "online", lastSeen: null }), "online");
  assert.equal(text.presenceText({ status: "offline", lastSeen: null }), "offline");
  assert.match(text.presenceText({ status: "offline", lastSeen: now - 60_000 }, now), /^last seen at .*11/);
  assert.match(text.presenceText({ status: "offline", lastSeen: now - 5 * 86_400_000 }, now), /^last seen on .*28/);
});
