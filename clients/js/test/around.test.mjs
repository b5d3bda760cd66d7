// What is around a message: groups, edits, deletions, reactions, reads, signals, presence.
import assert from "node:assert/strict";
import test from "node:test";
import { MemoryStorage } from "../dist/src/storage/memory.mjs";
import { accepted, browser, message, settled, world } from "./_support.mjs";

class Watched extends MemoryStorage {
  log = [];
  broken = false;
  shared = true;
  async write(change) {
    if (this.broken) throw new Error("quota exceeded");
    this.log.push(change);
    await super.write(change);
  }
}

const theirs = message(1);
const mine = { type: "message", cursor: "2-2", id: "a1", from: "alice", to: ["bob", "carol"], body: "x", ts: 2 };
const grouped = { type: "message", cursor: "3-3", id: "g1", from: "carol", group: "team", seq: 17, body: "y", ts: 3 };
const readEntry = (n, upto, more = { from: "bob" }) => ({
  type: "read", cursor: `${n}-${n}`, id: `read:${more.group ? `${more.group}:` : ""}${upto}`, upto, ts: n, ...more,
});

/** What went out since hello. */
const out = (wire) => wire.last().sent.filter(({ type }) => type !== "hello" && type !== "ack");

test("groups, edits, deletions and reactions go out in the order they were asked for, each with its fields", async () => {
  const { client, wire, live } = world();
  const options = (id) => ({ id });
  client.send("bob", "x", { id: "a1", receipts: false });
  client.sendToGroup("team", "y", { id: "a2", expiresIn: 60 });
  client.edit(mine, "z", options("a3"));
  client.delete({ id: "a2", group: "team" }, options("a4"));
  client.react(theirs, { emoji: "👍" }, options("a5"));
  client.react(mine, null, options("a6"));
  client.react(grouped, { emoji: "👍" }, options("a7"));
  await live();
  await settled();
  assert.deepEqual(out(wire), [
    { type: "send", id: "a1", to: "bob", body: "x", receipts: false },
    { type: "send", id: "a2", group: "team", body: "y", expires_in: 60 },
    { type: "edit", id: "a3", to: ["bob", "carol"], target: "a1", body: "z" },
    { type: "delete", id: "a4", group: "team", target: "a2" },
    { type: "react", id: "a5", to: "bob", target: "m1", target_from: "bob", body: { emoji: "👍" } },
    { type: "react", id: "a6", to: ["bob", "carol"], target: "a1", body: null },
    { type: "react", id: "a7", group: "team", target: "g1", target_from: "carol", body: { emoji: "👍" } },
  ]);
});

test("a change is stored before it is tried, goes again with its id, and resolves with the acceptance", async () => {
  const storage = new Watched();
  const { client, wire, clock, live } = world({ storage });
  await live();
  const editing = client.edit(mine, "z");
  await settled();
  const { id } = wire.last().all("edit")[0];
  assert.deepEqual(storage.log.at(-1).put.map(({ type, target, body }) => [type, target, body]), [["edit", "a1", "z"]]);
  client.drop();
  await clock.pass(1000);
  await wire.last().welcomes();
  assert.deepEqual(wire.last().all("edit"), [{ type: "edit", id, to: ["bob", "carol"], target: "a1", body: "z" }]);
  await wire.last().says(accepted(id));
  assert.equal((await editing).id, id);
  assert.deepEqual(await client.outbox(), []);
});

test("what one process left undone the next one does, of every kind", async () => {
  const storage = new Watched();
  const before = world({ storage });
  before.client.sendToGroup("team", 1, { id: "a1" });
  before.client.react(theirs, { emoji: "👍" }, { id: "a2" });
  before.client.delete(mine, { id: "a3" });
  await before.client.read(theirs);
  await settled();
  const after = world({ storage });
  await after.live();
  await settled();
  assert.deepEqual(out(after.wire).map(({ type }) => type), ["read", "send", "react", "delete"]);
  assert.deepEqual((await after.client.outbox()).map(({ id }) => id), ["a1", "a2", "a3"]);
});

test("a refused change rejects with its code and stays until it is discarded", async () => {
  const { client, wire, live } = world();
  await live();
  const editing = client.edit(mine, "z", { id: "a9" });
  await settled();
  await wire.last().says({ type: "error", id: "a9", code: "no_such_message", message: "", retryable: false });
  await assert.rejects(editing, { code: "no_such_message", id: "a9" });
  assert.equal((await client.outbox())[0].state, "failed");
  await client.discard("a9");
});

test("only what oneself wrote can be edited or deleted, and nothing is stored of the rest", async () => {
  const { client } = world();
  await assert.rejects(client.edit(theirs, "z"), { code: "forbidden" });
  await assert.rejects(client.delete(grouped), { code: "forbidden" });
  await assert.rejects(client.react(theirs, undefined), { code: "invalid_field" });
  await assert.rejects(client.react({ id: "m1" }, 1), { code: "invalid_field" });
  await assert.rejects(client.react({ from: "bob" }, 1), { code: "invalid_field" });
  await assert.rejects(client.sendToGroup(undefined, 1), { code: "invalid_field" });
  assert.deepEqual(await client.outbox(), []);
});

test("one id is one item, of whatever kind", async () => {
  const { client } = world();
  client.react(theirs, { emoji: "👍" }, { id: "a1" });
  client.react(theirs, { emoji: "👍" }, { id: "a1" });
  await assert.rejects(client.react(theirs, null, { id: "a1" }), { code: "id_reused" });
  await assert.rejects(client.sendToGroup("team", { emoji: "👍" }, { id: "a1" }), { code: "id_reused" });
  assert.equal((await client.outbox()).length, 1);
});

test("the own copy of a change that is too old to be sent again settles it", async () => {
  const storage = new Watched();
  const { client, clock, live } = world({ storage });
  await live();
  void client.edit(mine, "z", { id: "a9" });
  await settled();
  await client.close();
  await clock.pass(86_400_001);
  const next = world({ storage, clock });
  await next.live();
  assert.equal((await next.client.outbox())[0].state, "stale");
  const copy = { type: "edit", id: "a9", target: "a1", target_from: "alice", to: "bob", body: "z", ts: 5 };
  await next.wire.last().says({ ...copy, from: "bob", cursor: "5-5" });
  await next.wire.last().says({ type: "message", id: "a9", from: "alice", to: "bob", body: 1, ts: 4, cursor: "4-4" });
  assert.equal((await next.client.outbox()).length, 1);
  await next.wire.last().says({ ...copy, from: "alice", cursor: "6-6" });
  assert.deepEqual(await next.client.outbox(), []);
});

test("entries of every kind go through handler, storage and ack, and repeats are dropped by identity", async () => {
  const { client, wire, clock, live } = world();
  const seen = [];
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const kinds = ["receipt", "read", "edit", "delete", "react", "group", "deleted"];
  for (const kind of kinds) {
    client.on(kind, async ({ type, id }) => {
      await held;
      seen.push(`${type}/${id}`);
    });
  }
  await live();
  const entries = [
    { type: "receipt", id: "delivered:m1", target: "m1", kind: "delivered", by: "bob" },
    { type: "read", id: "read:m1", from: "bob", upto: "m1" },
    { type: "edit", id: "e", from: "bob", target: "m1", target_from: "bob", to: "alice", body: 1 },
    { type: "delete", id: "d", from: "bob", target: "m1", target_from: "bob", to: "alice" },
    { type: "react", id: "r", from: "bob", target: "m1", target_from: "bob", to: "alice", body: null },
    { type: "group", id: "team:1", group: "team", seq: 1, event: "created", user: "bob", by: "bob" },
    { type: "deleted", id: "m1", from: "bob", to: "alice" },
  ];
  const frames = [...entries, ...entries, { ...entries[0], by: "carol" }].map((entry, n) => ({ ts: n, ...entry, cursor: `${n + 1}-${n + 1}` }));
  await wire.last().says(...frames);
  await clock.pass(1000);
  assert.deepEqual(wire.last().all("ack"), []);
  release();
  await clock.pass(1000);
  assert.deepEqual(seen, [...entries.map(({ type, id }) => `${type}/${id}`), "receipt/delivered:m1"]);
  assert.equal(client.stats.repeats, 7);
  assert.equal(wire.last().all("ack").at(-1).cursor, "15-15");
});

test("entries() has entries of every kind, and one that the loop was left with comes again", async () => {
  const { client, wire, clock, live } = world();
  await live();
  const first = client.entries();
  const one = first.next();
  await wire.last().says(theirs, { type: "receipt", cursor: "2-2", id: "r", by: "bob", kind: "read", target: "x", ts: 2 }, { type: "gap", after: "2-2", cursor: "3-3", missing: 1, reason: "trimmed" });
  assert.deepEqual([(await one).value.id, (await first.next()).value.id], ["m1", "r"]);
  await first.return();
  await clock.pass(1000);
  assert.equal(wire.last().all("ack").at(-1).cursor, "1-1", "nobody has finished the receipt");
  const second = client.entries();
  assert.equal((await second.next()).value.id, "r");
  assert.equal((await second.next()).value.type, "gap");
  const asked = second.next();
  await clock.pass(1000);
  assert.equal(wire.last().all("ack").at(-1).cursor, "3-3");
  await client.close();
  assert.deepEqual(await asked, { done: true, value: undefined });
});

test("history is asked both ways, of a user or a group", async () => {
  const { client, wire, live } = world();
  await live();
  client.history({ group: "team", after: "1-1", limit: 5 });
  const { ref, ...query } = wire.last().all("history")[0];
  assert.deepEqual(query, { type: "history", group: "team", after: "1-1", limit: 5 });
  assert.ok(ref);
});

// How far was read

test("a read is stored before it is said, and said on every connection until its entry was handled", async () => {
  const storage = new Watched();
  const { client, wire, clock, live } = world({ storage });
  await live();
  await client.read(theirs);
  assert.equal(storage.log.at(-1).put[0].upto, "m1");
  const said = { type: "read", from: "bob", upto: "m1" };
  assert.deepEqual(out(wire), [said]);
  await client.read(theirs); // nothing new
  assert.deepEqual(out(wire), [said]);
  client.drop();
  await clock.pass(1000);
  await wire.last().welcomes();
  assert.deepEqual(out(wire), [said]);
  await wire.last().says(readEntry(5, "m1"));
  await settled();
  assert.deepEqual(storage.log.at(-1).remove, ["read/bob/read:m1"]);
  client.drop();
  await clock.pass(1000);
  await wire.last().welcomes();
  await client.read(theirs); // the service has it
  assert.deepEqual(out(wire), []);
});

test("a read that cannot be stored rejects, and is not said", async () => {
  const storage = new Watched();
  const { client, wire, live } = world({ storage });
  await live();
  storage.broken = true;
  await assert.rejects(client.read(theirs), { code: "storage_failed" });
  assert.deepEqual(out(wire), []);
});

test("of each conversation the newest read is kept; an older one changes nothing", async () => {
  const storage = new Watched();
  const { client, wire, live } = world({ storage });
  const carol = { ...message(9), from: "carol" };
  for (const one of [message(10), message(9), grouped, carol, { ...grouped, seq: 18, cursor: "20-20" }]) await client.read(one);
  await live();
  const said = [
    { type: "read", from: "bob", upto: "m10" },
    { type: "read", from: "carol", upto: "m9" },
    { type: "read", group: "team", upto: 18 },
  ];
  assert.deepEqual(out(wire), said);
  const again = world({ storage });
  await again.live();
  assert.deepEqual(out(again.wire), said);
});

test("an entry that goes further covers a read, one that does not leaves it", async () => {
  const { client, wire, clock, live } = world();
  client.on("message", () => {});
  await live();
  await wire.last().says(message(1), message(2), message(3), { ...grouped, cursor: "4-4" });
  await client.read(message(2));
  await client.read(grouped);
  await wire.last().says(readEntry(5, "m1"), readEntry(6, "m0"), readEntry(7, 16, { group: "team" }));
  client.drop();
  await clock.pass(1000);
  await wire.last().welcomes();
  assert.deepEqual(out(wire).map(({ upto }) => upto), ["m2", 17]);
  await wire.last().says(readEntry(8, "m3"), readEntry(9, 18, { group: "team" }));
  client.drop();
  await clock.pass(1000);
  await wire.last().welcomes();
  assert.deepEqual(out(wire), []);
});

test("a read without a cursor counts by number in a group, between two by what was handled; else the later call wins", async () => {
  const { client, wire, clock, live } = world();
  client.on("message", () => {});
  await live();
  await wire.last().says(message(1), message(2), message(3));
  await client.read(grouped);
  await client.read({ id: "g2", group: "team", seq: 18 });
  await client.read({ id: "g1", group: "team", seq: 17 });
  await client.read({ id: "m2", from: "bob" });
  await client.read({ id: "m1", from: "bob" });
  await client.read(message(1));
  await client.read({ id: "m3", from: "bob" });
  await client.read({ ...message(9), from: "carol" });
  await client.read({ id: "unknown", from: "carol" });
  client.drop();
  await clock.pass(1000);
  await wire.last().welcomes();
  assert.deepEqual(out(wire), [
    { type: "read", group: "team", upto: 18 },
    { type: "read", from: "bob", upto: "m3" },
    { type: "read", from: "carol", upto: "unknown" },
  ]);
});

test("a read that is older than what was confirmed is neither stored nor said, by the next process neither", async () => {
  const storage = new Watched();
  const first = world({ storage });
  first.client.on("message", () => {});
  await first.live();
  await first.wire.last().says(message(1), message(2), message(3), readEntry(5, "m2"), readEntry(6, 17, { group: "team" }));
  const older = [message(1), { id: "m1", from: "bob" }, message(2), { ...grouped, seq: 9 }, { group: "team", seq: 16 }];
  for (const one of older) await first.client.read(one);
  assert.deepEqual(out(first.wire), []);
  await first.client.close();
  const next = world({ storage });
  await next.live();
  for (const one of older) await next.client.read(one);
  assert.deepEqual(out(next.wire), []);
  assert.deepEqual(storage.log.filter(({ put }) => put?.length), []);
  await next.client.read(message(3));
  await next.client.read({ ...grouped, seq: 18 });
  assert.deepEqual(out(next.wire).map(({ upto }) => upto), ["m3", 18]);
});

test("what oneself wrote to another is nothing to read; in a group it has a number", async () => {
  const { client, wire, live } = world();
  await live();
  await client.read(mine);
  await client.read({ ...grouped, from: "alice" });
  assert.deepEqual(out(wire), [{ type: "read", group: "team", upto: 17 }]);
});

test("a read that the service could not store is said again after a while, one that it does not know never", async () => {
  const { client, wire, clock, events, live } = world();
  await live();
  await client.read(theirs);
  await client.read(grouped);
  const [first, second] = out(wire);
  await wire.last().says({ ...first, type: "error", code: "unavailable", message: "", field: "upto", retryable: true });
  await clock.pass(249);
  assert.equal(out(wire).length, 2);
  await clock.pass(1);
  assert.deepEqual(out(wire).slice(2), [first, second]);
  await wire.last().says({ ...first, type: "error", code: "unavailable", message: "", field: "upto", retryable: true });
  await wire.last().says({ ...second, type: "error", code: "no_such_group", message: "", field: "group", retryable: false });
  await clock.pass(499);
  assert.equal(out(wire).length, 4);
  await clock.pass(1);
  assert.deepEqual(out(wire).slice(4), [first]);
  assert.deepEqual(events.filter(({ event }) => event === "error").map(({ code }) => code), ["no_such_group"]);
});

test("a refusal of an older read is none of a newer one", async () => {
  const { client, wire, clock, live } = world();
  await live();
  await client.read(message(1));
  await client.read(message(2));
  const [older, newer] = out(wire);
  await wire.last().says({ ...older, type: "error", code: "no_such_message", message: "", field: "upto", retryable: false });
  client.drop();
  await clock.pass(1000);
  await wire.last().welcomes();
  assert.deepEqual(out(wire), [newer]);
});

test("a read whose entry was handled is not said by the next process, though its removal was lost", async () => {
  const storage = new Watched();
  const before = world({ storage });
  await before.client.read(theirs);
  await before.live();
  const [{ put }] = storage.log.filter(({ put }) => put);
  await before.wire.last().says(readEntry(5, "m1"));
  await before.client.close();
  await storage.write({ put });
  storage.log = [];
  const after = world({ storage });
  await after.live();
  await settled();
  assert.deepEqual(out(after.wire), []);
  assert.deepEqual(storage.log.flatMap(({ remove = [] }) => remove), ["read/bob/read:m1"]);
});

test("a read is in no list of what is to be sent", async () => {
  const storage = new Watched();
  const { client } = world({ storage });
  await client.read(theirs);
  assert.deepEqual(await client.outbox(), []);
  assert.deepEqual(await world({ storage }).client.outbox(), []);
});

// For the moment

test("signals go out while live, and are dropped otherwise", async () => {
  const { client, wire, clock, live } = world();
  client.signal({ to: "bob" }, { typing: true });
  await live();
  client.signal({ to: "bob" }, { typing: true });
  client.signal({ group: "team" }, { typing: false });
  client.drop();
  client.signal({ to: "bob" }, { typing: true });
  await clock.pass(1000);
  await wire.last().welcomes();
  client.signal({ to: "bob" }, { typing: true });
  assert.deepEqual(out(wire), []);
  assert.deepEqual(wire.all[0].all("signal"), [
    { type: "signal", to: "bob", body: { typing: true } },
    { type: "signal", group: "team", body: { typing: false } },
  ]);
});

test("who is watched is said again on every connection; presence and signals are told", async () => {
  const { client, wire, clock, live } = world();
  const told = [];
  client.on("presence", ({ user, status }) => told.push([user, status]));
  client.on("signal", ({ from, body }) => told.push([from, body]));
  client.watch(["bob", "carol"]);
  await live();
  client.watch(["dave"]);
  client.unwatch(["carol"]);
  client.unwatch([]);
  assert.deepEqual(out(wire), [
    { type: "watch", users: ["bob", "carol"] },
    { type: "watch", users: ["dave"] },
    { type: "unwatch", users: ["carol"] },
  ]);
  await wire.last().says({ type: "presence", user: "bob", status: "offline", last_seen: 1 }, { type: "signal", from: "bob", to: "alice", body: 1, ts: 1 });
  assert.deepEqual(told, [["bob", "offline"], ["bob", 1]]);
  client.drop();
  await clock.pass(1000);
  await wire.last().welcomes();
  await wire.last().says({ type: "live", cursor: "0-0" });
  assert.deepEqual(out(wire), [{ type: "watch", users: ["bob", "dave"] }]);
});

// Several tabs

async function tabs(count) {
  const storage = new Watched();
  const { locks, channel, crash } = browser();
  const all = [];
  for (let n = 0; n < count; n++) {
    const one = world({ storage, locks, channel, tabs: true });
    void one.client.connect();
    await settled();
    if (n === 0) {
      await one.wire.last().welcomes();
      await one.wire.last().says({ type: "live", cursor: "0-0" });
    }
    await settled();
    all.push(one);
  }
  return { all, crash, storage };
}

test("a follower's changes, reads and signals go out through the leader", async () => {
  const { all: [leader, follower] } = await tabs(2);
  const editing = follower.client.edit(mine, "z", { id: "a9" });
  await follower.client.read(theirs);
  follower.client.signal({ to: "bob" }, 1);
  await settled();
  assert.deepEqual(out(leader.wire).map(({ type }) => type).sort(), ["edit", "read", "signal"]);
  await leader.wire.last().says(accepted("a9"));
  assert.equal((await editing).id, "a9");
  assert.equal(follower.wire.all.length, 0);
});

test("each tab watches for itself: one that stops takes nothing from the others", async () => {
  const { all: [leader, second, third] } = await tabs(3);
  const told = [];
  for (const { client } of [leader, second, third]) client.on("presence", ({ user }) => told.push(user));
  second.client.watch(["bob"]);
  third.client.watch(["bob", "carol"]);
  await settled();
  third.client.unwatch(["bob", "carol"]);
  await settled();
  assert.deepEqual(out(leader.wire), [
    { type: "watch", users: ["bob"] },
    { type: "watch", users: ["bob", "carol"] },
    { type: "unwatch", users: ["bob", "carol"] },
    { type: "watch", users: ["bob"] },
  ]);
  leader.client.watch(["dave"]);
  second.client.unwatch(["bob", "dave"]);
  await settled();
  assert.deepEqual(out(leader.wire).at(-1), { type: "watch", users: ["dave"] });
  await leader.wire.last().says({ type: "presence", user: "bob", status: "online", last_seen: null });
  await settled();
  assert.deepEqual(told, ["bob", "bob", "bob"]);
});

test("when the leader goes, the next one says what was read, and who is watched from every tab", async () => {
  const { all: [leader, second, third] } = await tabs(3);
  second.client.watch(["bob"]);
  third.client.watch(["carol"]);
  await third.client.read(theirs);
  await settled();
  await leader.client.close();
  await settled();
  await second.wire.last().welcomes();
  await second.wire.last().says({ type: "live", cursor: "0-0" });
  await settled();
  const said = out(second.wire);
  assert.deepEqual(said.filter(({ type }) => type === "watch").flatMap(({ users }) => users).sort(), ["bob", "carol"]);
  assert.deepEqual(said.filter(({ type }) => type === "read"), [{ type: "read", from: "bob", upto: "m1" }]);
  await third.client.read(grouped);
  await second.wire.last().says(readEntry(5, "m1"), readEntry(6, 18, { group: "team" }));
  await settled();
  await second.client.close();
  await settled();
  await third.wire.last().welcomes();
  assert.deepEqual(third.wire.last().all("read"), []);
});
