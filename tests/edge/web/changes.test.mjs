import assert from "node:assert/strict";
import { test } from "node:test";

import { logItems } from "../../../service/web/items.mjs";
import { MemoryStore } from "../../../service/web/memory.mjs";
import * as model from "../../../service/web/model.mjs";

const T = Date.UTC(2026, 4, 3, 12);
const ME = "alice";
const at = (seq) => ({ cursor: `${T + seq * 1000}-${seq}`, ts: T + seq * 1000 });
const message = (seq, from = "bob", more = {}) => ({
  type: "message", id: `m${seq}`, from, to: from === ME ? "bob" : ME, body: { text: `${seq}` }, ...at(seq), ...more,
});
const change = (type, seq, target, from = "bob", more = {}) => ({
  type, id: `c${seq}`, target, target_from: "bob", from, to: from === ME ? "bob" : ME, ...at(seq), ...more,
});
const edit = (seq, target, text) => change("edit", seq, target, "bob", { body: { text } });
const react = (seq, target, from, emoji) => change("react", seq, target, from, { body: emoji && { emoji } });
const erase = (seq, target) => change("delete", seq, target);
const hole = (seq) => ({ ...message(seq), type: "deleted", body: undefined });

/** What somebody sees to whom these came, in this order. */
async function picture(entries, { counts = true, outbox = [] } = {}) {
  const store = new MemoryStore();
  for (const entry of entries) await store.put(model.recordsOf(entry, ME), { counts });
  const [records, row] = [await store.page("bob", null, 99), await store.row("bob")];
  const shown = logItems({ me: ME, row, records, outbox, gaps: [] }).filter((one) => one.kind === "message");
  return { lines: shown.map(({ id, body, edited, erased, reactions }) => ({ id, body, edited, erased, reactions })), last: row.last?.id, unread: row.unread, records };
}
const without = ({ records, unread, ...seen }) => seen;

function orders(list) {
  if (list.length < 2) return [list];
  return list.flatMap((one, index) => orders(list.toSpliced(index, 1)).map((rest) => [one, ...rest]));
}

const STORY = [message(1), message(2), edit(3, "m1", "first"), edit(4, "m1", "second"), react(5, "m1", ME, "👍"), react(6, "m1", ME, null)];
const ERASED = [message(1, "bob", { body: { text: "secret" } }), edit(2, "m1", "secret"), react(3, "m1", "bob", "👍"), erase(4, "m1"), hole(1)];

for (const [name, story] of Object.entries({ "edits and reactions": STORY, deletions: ERASED })) {
  test(`${name} give the same picture in whichever order they come`, async () => {
    const right = without(await picture(story));
    for (const order of orders(story)) assert.deepEqual(without(await picture(order)), right, order.map((one) => one.id).join(" "));
  });

  test(`${name} give the same picture however often they come`, async () => {
    const right = await picture(story);
    assert.deepEqual(await picture([...story, ...story]), right);
    assert.deepEqual(await picture(story.flatMap((one) => [one, one])), right);
    assert.deepEqual(without(await picture([...story, ...story.toReversed()])), without(right));
  });
}

test("the newest edit is what is shown, and the list shows it, too", async () => {
  const { lines, records } = await picture(STORY);
  assert.deepEqual(lines.map((one) => one.body.text), ["second", "2"]);
  assert.deepEqual(lines.map((one) => one.edited), [true, false]);
  assert.equal(model.bodyOf((await picture([message(1), edit(2, "m1", "new")])).records[0]).text, "new");
  assert.equal(records.length, 2, "changes are no lines of their own");
});

test("of what was deleted nothing is kept, whatever comes later", async () => {
  for (const order of orders(ERASED)) {
    const { lines, records } = await picture(order);
    assert.deepEqual(lines, [{ id: "m1", body: null, edited: false, erased: true, reactions: [] }]);
    assert.ok(!JSON.stringify(records).includes("secret"));
  }
});

test("a change of what is not here shows nothing, counts nothing, and waits", async () => {
  const before = await picture([edit(3, "m1", "new"), erase(4, "m2")]);
  assert.deepEqual(before, { lines: [], last: undefined, unread: 0, records: [] });
});

test("everybody has one reaction, and what is none of ours is none", async () => {
  const { lines } = await picture([
    message(1), react(2, "m1", "bob", "👍"), react(3, "m1", ME, "👍"), react(4, "m1", "bob", "🙏"),
    change("react", 5, "m1", "carol", { to: "bob", from: "carol" }),
  ]);
  assert.deepEqual(lines[0].reactions, [{ emoji: "👍", users: [ME], mine: true }, { emoji: "🙏", users: ["bob"], mine: false }]);
  for (const body of [1, "x", {}, { emoji: 1 }, { emoji: "" }, { emoji: "x".repeat(99) }]) {
    assert.deepEqual((await picture([message(1), change("react", 2, "m1", "bob", { body })])).lines[0].reactions, []);
  }
});

test("one's own change is shown while it waits, and is not lost when it is accepted", async () => {
  const own = message(1, ME);
  const item = { type: "edit", id: "c2", target: "m1", to: "bob", body: { text: "new" }, order: 1, createdAt: T, state: "sent" };
  assert.equal((await picture([own], { outbox: [item] })).lines[0].body.text, "new");
  assert.equal((await picture([own], { outbox: [{ ...item, state: "failed" }] })).lines[0].body.text, "1");

  const [accepted] = model.recordsOfAccepted(item, { ts: T + 2000, recipients: [{ to: "bob", cursor: "1-1" }] }, ME);
  const [stored] = model.recordsOf(own, ME);
  const [copy] = model.recordsOf({ ...change("edit", 2, "m1", ME, { body: { text: "new" } }), target_from: ME }, ME);
  const [other] = model.recordsOf({ ...change("edit", 3, "m1", ME, { body: { text: "newer" } }), target_from: ME }, ME);
  for (const order of orders([stored, accepted, copy])) assert.equal(model.bodyOf(order.reduce(model.joined)).text, "new");
  for (const order of orders([stored, accepted, copy, other])) assert.equal(model.bodyOf(order.reduce(model.joined)).text, "newer");
  const near = { ...other, edit: { ...other.edit, at: [copy.edit.at[0], copy.edit.at[1] + 1] } }; // in the same millisecond
  for (const order of orders([stored, accepted, copy, near])) assert.equal(model.bodyOf(order.reduce(model.joined)).text, "newer");
});

test("a change that was refused is told at its message, which says what it said", () => {
  const records = model.recordsOf(message(1, ME), ME);
  const item = { type: "edit", id: "c2", target: "m1", to: "bob", body: { text: "new" }, order: 1, createdAt: T, state: "failed", error: { code: "no_such_message" } };
  const shown = (outbox) => logItems({ me: ME, row: { peer: "bob" }, records, outbox, gaps: [] }).find((one) => one.kind === "message");
  assert.deepEqual([shown([item]).body.text, shown([item]).failed.id, shown([item]).changing], ["1", "c2", false]);
  assert.equal(shown([{ ...item, to: "carol" }]).failed, null);
  assert.deepEqual([shown([{ ...item, state: "queued" }]).body.text, shown([{ ...item, state: "queued" }]).changing], ["new", true]);
});

test("a change to several is one in each of their conversations", () => {
  const item = { type: "delete", id: "c1", target: "m1", to: ["bob", "carol"] };
  const acceptance = { ts: T, recipients: [{ to: "bob", cursor: "1-1" }, { to: "carol", error: "no_such_message" }] };
  assert.deepEqual(model.recordsOfAccepted(item, acceptance, ME).map((one) => one.peer), ["bob"]);
});

test("a message is named to the client as it was sent", () => {
  const ref = (entry) => model.refOf(model.recordsOf(entry, ME)[0], ME);
  assert.deepEqual(ref(message(1)), { type: "message", id: "m1", from: "bob", to: ME, cursor: at(1).cursor });
  assert.deepEqual(ref(message(1, ME)).to, "bob");
  assert.deepEqual(ref(message(1, ME, { to: ["bob", "carol"] })).to, ["bob", "carol"]);
  assert.deepEqual(ref(message(1, "bob", { to: undefined, group: "g", seq: 7 })), { type: "message", id: "m1", from: "bob", group: "g", seq: 7, cursor: at(1).cursor });
});

test("what is deleted has not to be read any more, and what comes deleted never had to be", async () => {
  assert.equal((await picture([message(1), message(2), erase(3, "m2")])).unread, 1);
  assert.equal((await picture([message(1), message(2), erase(3, "m2"), erase(3, "m2"), hole(2)])).unread, 1);
  assert.equal((await picture([message(1), hole(2), erase(3, "m2")])).unread, 1);
  assert.equal((await picture([message(1), erase(3, "m2"), message(2)])).unread, 1);
});
