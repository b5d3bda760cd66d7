import assert from "node:assert/strict";
import test from "node:test";
import { InboxClient } from "../dist/src/index.mjs";
import { MemoryStorage } from "../dist/src/storage/memory.mjs";
import { accepted, message, settled, world } from "./_support.mjs";

/** Says what was written before what was sent, and fails when told to. */
class Watched extends MemoryStorage {
  log = [];
  broken = () => false;
  async write(change) {
    if (this.broken(change)) throw new Error("quota exceeded");
    this.log.push(change);
    await super.write(change);
  }
}

function deferred() {
  const one = {};
  one.promise = new Promise((resolve, reject) => Object.assign(one, { resolve, reject }));
  return one;
}

/** Whether a promise is pending, or how it ended. */
async function fate(promise) {
  await settled();
  return Promise.race([promise.then((value) => ["resolved", value], (error) => ["rejected", error.code]), Promise.resolve(["pending"])]);
}

test("the attempt is stored before the socket is opened, and rises with each try", async () => {
  const storage = new Watched();
  const { client, wire, clock, live } = world({ storage });
  await live();
  assert.equal(wire.last().url, "ws://chat.test/base/v1/ws?user=alice");
  assert.deepEqual(wire.last().all("hello"), [{ type: "hello", device: "d", attempt: 1 }]);
  assert.deepEqual(storage.log[0], { meta: { attempt: 1 } });
  client.drop();
  await clock.pass(1000);
  wire.last().opens();
  assert.equal(wire.last().all("hello")[0].attempt, 2);
});

test("connect resolves when live and rejects when failed", async () => {
  const { client, wire } = world();
  const connecting = client.connect();
  assert.deepEqual(await fate(connecting), ["pending"]);
  await wire.last().welcomes();
  assert.equal(client.state, "replaying");
  await wire.last().says({ type: "live", cursor: "0-0" });
  await connecting;
  await client.connect();
  await wire.last().ends(4509, "replaced");
  assert.deepEqual(client.failure, { code: 4509, reason: "replaced" });
  const again = client.connect();
  await settled();
  await wire.last().ends(4503, "forbidden");
  await assert.rejects(again, { code: "failed" });
});

test("close during connecting rejects connect and opens nothing", async () => {
  const { client, wire, states } = world();
  const connecting = client.connect();
  const closing = client.close();
  await assert.rejects(connecting, { code: "closed" });
  await closing;
  assert.equal(wire.all.length, 0);
  await client.close();
  assert.deepEqual(states(), ["closed"]);
});

test("an old socket's late events are nobody's", async () => {
  const { client, wire, clock, live } = world();
  const seen = [];
  client.on("message", ({ id }) => seen.push(id));
  await live();
  const old = wire.last();
  const { onmessage, onclose } = old;
  client.drop();
  await clock.pass(1000);
  await wire.last().welcomes();
  onmessage({ data: JSON.stringify(message(1)) });
  onclose({ code: 4509, reason: "" });
  await settled();
  assert.deepEqual(seen, []);
  assert.equal(client.state, "replaying");
});

test("an entry is handled, then stored, then acked", async () => {
  const storage = new Watched();
  const { client, wire, clock, live } = world({ storage });
  const held = deferred();
  client.on("message", () => held.promise);
  await live();
  await wire.last().says(message(1));
  await clock.pass(1000);
  assert.equal(storage.log.some(({ mark }) => mark), false);
  held.resolve();
  await settled();
  assert.deepEqual(storage.log.at(-1), { mark: { slot: 0, t: 1, cursor: "1-1", identity: "message/bob/m1" } });
  assert.deepEqual(wire.last().all("ack"), []);
  await clock.pass(20);
  assert.deepEqual(wire.last().all("ack"), [{ type: "ack", cursor: "1-1" }]);
});

test("messages are handled one after the other, and a repeat is counted, stored and acked", async () => {
  const { client, wire, clock, live } = world();
  const log = [];
  client.on("message", async ({ id }) => {
    log.push(`+${id}`);
    await settled();
    log.push(`-${id}`);
  });
  await live();
  await wire.last().says(message(1), message(2), message(1, { cursor: "3-3" }));
  await clock.pass(100);
  await clock.pass(100);
  assert.deepEqual(log, ["+m1", "-m1", "+m2", "-m2"]);
  assert.equal(client.stats.repeats, 1);
  assert.equal(wire.last().all("ack").at(-1).cursor, "3-3");
});

test("a handler that throws is tried again, and nothing overtakes it", async () => {
  const { client, wire, clock, events, live } = world();
  const log = [];
  let bad = 2;
  client.on("message", () => void log.push("first"));
  client.on("message", ({ id }) => {
    if (id === "m1" && bad-- > 0) throw new Error("no");
    log.push(id);
  });
  await live();
  await wire.last().says(message(1), message(2));
  assert.deepEqual(events.at(-1).code, "handler_failed");
  assert.equal(events.at(-1).entry.id, "m1");
  await clock.pass(249);
  assert.equal(events.filter(({ code }) => code === "handler_failed").length, 1);
  await clock.pass(1000);
  assert.deepEqual(log, ["first", "m1", "first", "m2"]); // the handler that had finished is not asked twice
});

test("while nobody listens messages wait, and other entries pass", async () => {
  const { client, wire, clock, live } = world();
  await live();
  await wire.last().says({ type: "receipt", cursor: "1-1", id: "r", by: "bob" }, message(2));
  await clock.pass(1000);
  assert.deepEqual(wire.last().all("ack"), [{ type: "ack", cursor: "1-1" }]);
  const seen = [];
  client.on("message", ({ id }) => seen.push(id));
  await clock.pass(1000);
  assert.deepEqual(seen, ["m2"]);
  assert.equal(wire.last().all("ack").length, 2);
});

test("entries of unknown types reach those who listen to entries", async () => {
  const { client, wire, live } = world();
  const seen = [];
  client.on("entry", ({ type }) => seen.push(type));
  await live();
  await wire.last().says({ type: "poll", cursor: "1-1", id: "p" }, { type: "news" });
  assert.deepEqual(seen, ["poll"]);
});

test("a connection lost while a handler runs: it finishes, is stored, and the next hello says so", async () => {
  const { client, wire, clock, live } = world();
  const [held, seen] = [deferred(), []];
  client.on("message", async ({ id }) => {
    seen.push(id);
    await held.promise;
  });
  await live();
  await wire.last().says(message(1), message(2));
  await wire.last().ends(1006);
  held.resolve();
  await clock.pass(1000);
  assert.deepEqual(seen, ["m1"]); // the second was dropped, and comes again
  wire.last().opens();
  assert.equal(wire.last().all("hello")[0].cursor, "1-1");
  assert.deepEqual(wire.all[0].all("ack"), []);
});

test("a handler that outlives the reconnect makes the same entry a repeat", async () => {
  const { client, wire, clock, live } = world();
  const [held, seen] = [deferred(), []];
  client.on("message", async ({ id }) => {
    seen.push(id);
    await held.promise;
  });
  await live();
  await wire.last().says(message(1));
  await wire.last().ends(1006);
  await clock.pass(1000);
  await wire.last().welcomes();
  await wire.last().says(message(1, { replay: true }), message(2));
  held.resolve();
  await clock.pass(100);
  assert.deepEqual(seen, ["m1", "m2"]);
  assert.equal(wire.last().all("ack").at(-1).cursor, "2-2");
});

test("a rewound gap takes the cursor back", async () => {
  const { client, wire, clock, events, live } = world();
  client.on("message", () => {});
  await live();
  await wire.last().says(message(9), { type: "gap", after: "9-9", cursor: "3-3", missing: null, reason: "rewound" });
  await clock.pass(100);
  assert.equal(events.at(-1).reason, "rewound");
  assert.equal(client.stats.gaps, 1);
  client.drop();
  await clock.pass(1000);
  wire.last().opens();
  assert.equal(wire.last().all("hello")[0].cursor, "3-3");
});

test("a cursor that cannot be stored is not acked until it can, and the handler is not asked again", async () => {
  const storage = new Watched();
  const { client, wire, clock, events, live } = world({ storage });
  const seen = [];
  client.on("message", ({ id }) => seen.push(id));
  await live();
  storage.broken = ({ mark }) => mark;
  await wire.last().says(message(1), message(2));
  await clock.pass(5000);
  assert.ok(events.filter(({ code }) => code === "storage_failed").length > 2);
  assert.deepEqual(seen, ["m1"]);
  assert.deepEqual(wire.last().all("ack"), []);
  storage.broken = () => false;
  await clock.pass(20_000);
  assert.deepEqual(seen, ["m1", "m2"]);
  assert.equal(wire.last().all("ack").at(-1).cursor, "2-2");
});

test("a send is stored before it is tried, stays pending, and resolves with the acceptance", async () => {
  const storage = new Watched();
  const { client, wire, clock, live, events } = world({ storage });
  const sending = client.send("bob", { text: "hi" }, { id: "m1", expiresIn: 60 });
  assert.deepEqual(await fate(sending), ["pending"]);
  assert.equal((await client.outbox())[0].triedAt, null);
  await clock.pass(10_000);
  await live();
  await settled();
  assert.deepEqual(wire.last().all("send"), [{ type: "send", id: "m1", to: "bob", body: { text: "hi" }, expires_in: 50 }]);
  const tried = storage.log.findLast(({ put }) => put?.length);
  assert.equal(tried.put[0].triedAt, clock.wall());
  await wire.last().says(accepted("m1"));
  const { type: _, ...acceptance } = accepted("m1");
  assert.deepEqual(await sending, acceptance);
  assert.deepEqual(await client.outbox(), []);
  assert.deepEqual(storage.log.at(-1).remove, ["m1"]);
  assert.equal(events.at(-1).id, "m1");
});

test("sends keep the order in which they were asked for", async () => {
  const { client, wire, live } = world();
  for (let n = 0; n < 100; n++) void client.send("bob", n, { id: `m${n}` });
  await live();
  for (let n = 0; n < 100; n++) await wire.last().says(accepted(`m${n}`));
  assert.deepEqual(wire.last().all("send").map(({ body }) => body), Array.from({ length: 100 }, (_, n) => n));
});

test("while connected one write is enough: the item is stored as tried", async () => {
  const storage = new Watched();
  const { client, wire, clock, live } = world({ storage });
  await live();
  const before = storage.log.length;
  void client.send("bob", 1);
  await settled();
  assert.equal(storage.log.length, before + 1);
  assert.equal(storage.log.at(-1).put[0].triedAt, clock.wall());
  assert.equal(wire.last().all("send").length, 1);
});

test("refusals reject with their code, stay, and can be retried or discarded", async () => {
  const { client, wire, live, events } = world();
  await live();
  const sending = client.send("bob", 1, { id: "m1" });
  await settled();
  await wire.last().says({ type: "error", id: "m1", code: "forbidden", message: "no", retryable: false });
  await assert.rejects(sending, { name: "SendError", code: "forbidden", id: "m1" });
  assert.equal(events.at(-1).event, "failed");
  assert.equal((await client.outbox())[0].state, "failed");
  const retrying = client.retry("m1");
  await settled();
  assert.equal(wire.last().all("send").length, 2);
  await wire.last().says({ type: "error", id: "m1", code: "inbox_full", message: "full", retryable: true });
  await assert.rejects(retrying, { code: "inbox_full" });
  await client.discard("m1");
  assert.deepEqual(await client.outbox(), []);
  await assert.rejects(client.discard("m1"), { code: "not_found" });
});

test("an unavailable item can be given up: skip is sent, the others go on", async () => {
  const { client, wire, clock, live } = world();
  await live();
  const first = client.send("bob", 1, { id: "m1" });
  void client.send("bob", 2, { id: "m2" });
  await settled();
  await wire.last().says({ type: "error", id: "m1", code: "unavailable", message: "", retryable: true });
  await wire.last().says({ type: "error", id: "m2", code: "out_of_order", message: "", retryable: true });
  await client.discard("m1");
  await assert.rejects(first, { code: "discarded" });
  assert.deepEqual(wire.last().all("skip"), [{ type: "skip", id: "m1" }]);
  await clock.pass(1000);
  assert.deepEqual(wire.last().all("send").map(({ id }) => id), ["m1", "m2", "m2"]);
});

test("a refusal while the next item is being stored: that one waits behind the refused", async () => {
  const storage = new Watched();
  const { client, wire, clock, live } = world({ storage });
  await live();
  for (let n = 0; n <= 64; n++) void client.send("bob", n, { id: `m${n}` });
  await settled();
  const written = deferred();
  const { write } = storage;
  storage.write = async (change) => (change.put?.length && (await written.promise), write.call(storage, change));
  await wire.last().says(accepted("m1")); // room for the last one, whose first try is now stored
  await wire.last().says({ type: "error", id: "m0", code: "unavailable", message: "", retryable: true });
  const behind = Array.from({ length: 62 }, (_, n) => ({ type: "error", id: `m${n + 2}`, code: "out_of_order", message: "" }));
  await wire.last().says(...behind);
  written.resolve();
  await clock.pass(1000);
  const ids = wire.last().all("send").map(({ id }) => id);
  assert.ok(ids.lastIndexOf("m0") > 0 && ids.indexOf("m64") > ids.lastIndexOf("m0"));
});

test("one id is one message: the same content joins it, another is refused", async () => {
  const { client } = world({ maxOutbox: 2 });
  const first = client.send("bob", { a: 1, b: 2 }, { id: "m1" });
  const second = client.send("bob", { b: 2, a: 1 }, { id: "m1" });
  await assert.rejects(client.send("bob", 2, { id: "m1" }), { code: "id_reused" });
  assert.equal((await client.outbox()).length, 1);
  void client.send("bob", 2, { id: "m2" });
  await assert.rejects(client.send("bob", 3, { id: "m3" }), { code: "outbox_full" });
  assert.deepEqual(await fate(first), ["pending"]);
  assert.deepEqual(await fate(second), ["pending"]);
});

test("what is no JSON, or no id, is refused before it is stored", async () => {
  const { client } = world();
  const loop = {};
  loop.self = loop;
  for (const body of [undefined, () => {}, loop, 1n]) await assert.rejects(client.send("bob", body), { code: "invalid_field" });
  for (const id of ["", "a b", "x".repeat(65), "ü"]) await assert.rejects(client.send("bob", 1, { id }), { code: "invalid_field" });
  assert.deepEqual(await client.outbox(), []);
});

test("a send that cannot be stored is rejected and not sent", async () => {
  const storage = new Watched();
  const { client, wire, live } = world({ storage });
  await live();
  storage.broken = ({ put }) => put?.length;
  await assert.rejects(client.send("bob", 1), { code: "storage_failed" });
  assert.deepEqual(await client.outbox(), []);
  storage.broken = () => false;
  void client.send("bob", 2);
  await settled();
  assert.deepEqual(wire.last().all("send").map(({ body }) => body), [2]);
});

test("an item too old to be known asks before it is sent again", async () => {
  const storage = new Watched();
  const { client, wire, clock, live, events } = world({ storage });
  await live();
  void client.send("bob", 1, { id: "old" });
  await settled();
  await client.close();
  await clock.pass(86_400_001);
  const next = world({ storage, clock });
  await next.live();
  assert.deepEqual(next.wire.last().all("send"), []);
  assert.ok(next.events.some(({ event, id }) => event === "stale" && id === "old"));
  void next.client.retry("old");
  await settled();
  assert.equal(next.wire.last().all("send").length, 1);
  assert.equal(events.some(({ event }) => event === "stale"), false);
});

test("the own copy of a message that is too old to be sent again settles it", async () => {
  const storage = new Watched();
  const { client, clock, live } = world({ storage });
  await live();
  void client.send("bob", 1, { id: "old" });
  await settled();
  await client.close();
  await clock.pass(86_400_001);
  const next = world({ storage, clock });
  await next.live();
  const copy = { type: "message", id: "old", from: "bob", to: "bob", body: 1, ts: 7, cursor: "5-0" };
  await next.wire.last().says(copy);
  assert.equal((await next.client.outbox()).length, 1); // another's message of that id proves nothing
  await next.wire.last().says({ ...copy, from: "alice", cursor: "6-0" });
  assert.deepEqual(await next.client.outbox(), []);
  const { acceptance } = next.events.find(({ event }) => event === "accepted");
  assert.deepEqual(acceptance, { id: "old", ts: 7, duplicate: true, recipients: [] });
});

test("nothing is written to a socket that is closing", async () => {
  const { client, wire, live } = world();
  await live();
  wire.last().readyState = 2;
  let writes = 0;
  wire.last().send = () => writes++;
  await assert.rejects(client.history(), { code: "not_connected" });
  assert.equal(writes, 0);
});

test("what one process left, the next one sends", async () => {
  const storage = new Watched();
  const first = world({ storage });
  void first.client.send("bob", 1, { id: "a" });
  void first.client.send("bob", 2, { id: "b" });
  await settled();
  const { wire, live } = world({ storage });
  await live();
  assert.deepEqual(wire.last().all("send").map(({ id }) => id), ["a", "b"]);
});

test("the iterator's message is handled when the next one is asked for", async () => {
  const { client, wire, clock, live } = world();
  const messages = client.messages();
  await live();
  await wire.last().says(message(1), message(2));
  assert.equal((await messages.next()).value.id, "m1");
  await clock.pass(1000);
  assert.deepEqual(wire.last().all("ack"), []);
  assert.equal((await messages.next()).value.id, "m2");
  await clock.pass(1000);
  assert.equal(wire.last().all("ack").at(-1).cursor, "1-1");
  await messages.return();
  await clock.pass(1000);
  assert.equal(wire.last().all("ack").at(-1).cursor, "1-1"); // left: not handled
  for await (const { id } of client.messages()) {
    assert.equal(id, "m2");
    break;
  }
});

test("close ends the iterators, and what was given may still be finished", async () => {
  const storage = new Watched();
  const { client, wire, clock, live } = world({ storage });
  await live();
  await wire.last().says(message(1));
  const messages = client.messages();
  await messages.next();
  const closing = client.close();
  assert.equal((await messages.next()).done, true);
  await clock.pass(1000);
  await closing;
  assert.equal(storage.log.at(-1).mark.cursor, "1-1");
});

test("close sends the acks that wait", async () => {
  const { client, wire, clock, live } = world();
  client.on("message", () => {});
  await live();
  await wire.last().says(message(1));
  void client.close();
  assert.deepEqual(wire.last().all("ack"), [{ type: "ack", cursor: "1-1" }]);
  assert.equal(wire.last().closed, 1000);
  await clock.pass(1000);
});

test("silence is answered by a ping, then by another connection", async () => {
  const { client, wire, clock, live } = world({ pingInterval: 1000, patience: 500 });
  await live();
  await clock.pass(1000);
  assert.equal(wire.last().all("ping").length, 1);
  await wire.last().says({ type: "pong" });
  await clock.pass(1000);
  assert.equal(wire.last().all("ping").length, 2);
  await clock.pass(500);
  assert.equal(wire.last().closed, "terminated");
  assert.equal(client.state, "reconnecting");
  assert.equal(client.retryAt, clock.wall() + 250);
});

test("without a network nothing is tried; with it, at once", async () => {
  const { client, wire, clock, network, live, states } = world();
  network.onLine = false;
  void client.connect();
  await clock.pass(60_000);
  assert.equal(client.state, "offline");
  assert.equal(wire.all.length, 0);
  network.set(true);
  await settled();
  await wire.last().welcomes();
  network.set(false);
  network.set(true);
  await settled();
  assert.deepEqual(states(), ["offline", "connecting", "replaying", "offline", "connecting"]);
  await client.close();
  network.set(false);
  assert.equal(client.state, "closed");
  void live;
});

test("history answers by its reference, and fails with the connection", async () => {
  const { client, wire, live } = world();
  await assert.rejects(client.history(), { code: "not_connected" });
  await live();
  const page = client.history({ with: "bob", limit: 2 });
  const { ref, ...asked } = wire.last().all("history")[0];
  assert.deepEqual(asked, { type: "history", with: "bob", limit: 2 });
  await wire.last().says({ type: "history", ref, entries: [message(1)], more: true });
  assert.deepEqual(await page, { entries: [message(1)], more: true });
  const refused = client.history({ limit: 999 });
  await wire.last().says({ type: "error", ref: wire.last().all("history")[1].ref, code: "invalid_field", message: "limit" });
  await assert.rejects(refused, { code: "invalid_field" });
  const lost = client.history();
  await wire.last().ends(1006);
  await assert.rejects(lost, { code: "not_connected" });
});

const jwt = (claims) => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;

test("a token is renewed on the open connection when a fifth of its life is left", async () => {
  const { FakeClock } = await import("./_support.mjs");
  const clock = new FakeClock();
  const asked = [];
  const getToken = ({ refresh }) => {
    asked.push(refresh);
    return jwt({ sub: "alice", exp: clock.wall() / 1000 + 100, n: asked.length });
  };
  const { wire, live } = world({ clock, getToken });
  await live();
  assert.equal(wire.last().url, "ws://chat.test/base/v1/ws");
  assert.ok(wire.last().all("hello")[0].token);
  wire.last().says({ type: "pong" });
  for (let second = 0; second < 79; second++) {
    await clock.pass(1000);
    await wire.last().says({ type: "pong" });
  }
  assert.deepEqual(asked, [false]);
  await clock.pass(2000);
  assert.deepEqual(asked, [false, true]);
  assert.equal(wire.last().all("auth").length, 1);
});

test("4002 asks for a fresh token and comes back at once", async () => {
  const asked = [];
  const { wire, live, client } = world({ getToken: ({ refresh }) => (asked.push(refresh), `t${asked.length}`) });
  await live();
  await wire.last().ends(4002);
  assert.deepEqual(asked, [false, true]);
  wire.last().opens();
  assert.equal(wire.last().all("hello")[0].token, "t2");
  assert.equal(client.state, "connecting");
});

test("4501 tries one other token, and fails where there is no other", async () => {
  let n = 0;
  const { wire, client } = world({ getToken: () => `t${n++}` });
  void client.connect();
  await settled();
  await wire.last().ends(4501, "unauthenticated");
  assert.equal(wire.all.length, 2);
  await wire.last().ends(4501, "unauthenticated");
  assert.equal(client.state, "failed");
  const same = world({ getToken: () => "t" });
  void same.client.connect();
  await settled();
  await same.wire.last().ends(4501);
  assert.equal(same.wire.all.length, 1);
  assert.equal(same.client.failure.code, 4501);
});

test("no token is final; a token service that is away is not", async () => {
  const none = world({ getToken: () => null });
  await assert.rejects(none.client.connect(), { code: "failed" });
  assert.equal(none.client.failure.code, "no_token");
  let away = true;
  const { client, clock, wire, events } = world({
    getToken: async () => {
      if (away) throw new Error("502");
      return "t";
    },
  });
  void client.connect();
  await clock.pass(60_000);
  assert.equal(wire.all.length, 0);
  assert.ok(events.some(({ code }) => code === "connect_failed"));
  away = false;
  await clock.pass(20_000);
  assert.ok(wire.all.length > 0);
  assert.equal(client.failure, undefined);
});

test("another user's token, or inbox, is refused before anything is sent", async () => {
  const { client } = world({ getToken: () => jwt({ sub: "mallory" }) });
  await assert.rejects(client.connect(), { code: "failed" });
  assert.equal(client.failure.code, "other_user");
  const storage = new Watched();
  const first = world({ storage, user: undefined, getToken: () => "t" });
  await first.live();
  await first.client.close();
  const second = world({ storage, user: undefined, getToken: () => "t" });
  void second.client.send("bob", "secret");
  void second.client.connect();
  await settled();
  await second.wire.last().welcomes({ user: "mallory" });
  assert.equal(second.client.failure.code, "other_user");
  assert.deepEqual(second.wire.last().all("send"), []);
});

test("a handler of events that throws disturbs nobody", async () => {
  const { client, events, live } = world();
  client.on("state", () => {
    throw new Error("sync");
  });
  client.on("state", async () => {
    throw new Error("async");
  });
  await live();
  assert.equal(client.state, "live");
  assert.equal(events.filter(({ code }) => code === "handler_failed").length, 6);
});

test("a handler may close the client in the middle of a frame", async () => {
  const { client, wire, clock, live } = world();
  const seen = [];
  client.on("message", ({ id }) => {
    seen.push(id);
    void client.close();
  });
  await live();
  await wire.last().says(message(1), message(2));
  await clock.pass(2000);
  assert.deepEqual(seen, ["m1"]);
  assert.equal(client.state, "closed");
});

test("bytes that are no JSON are told, and end the connection: an ack of what follows would cover them", async () => {
  const { client, wire, live, events } = world();
  await live();
  wire.last().onmessage({ data: "{" });
  await settled();
  assert.ok(events.some(({ code }) => code === "malformed_frame"));
  assert.equal(client.state, "reconnecting");
});

test("a storage of the application that does not open fails everything, clearly", async () => {
  const storage = new Watched();
  storage.open = () => Promise.reject(new Error("locked"));
  const { client } = world({ storage });
  await assert.rejects(client.connect(), { code: "failed" });
  assert.deepEqual(client.failure, { code: "storage_failed", reason: "locked" });
  await assert.rejects(client.send("bob", 1), { code: "storage_failed" });
});

test("where there is no storage at all, memory is used and said so", async () => {
  const { client, events } = world({ storage: undefined });
  await client.ready();
  const { kind, durable, why } = events.find(({ event }) => event === "storage");
  assert.deepEqual([kind, durable], ["memory", false]);
  assert.match(why, /indexeddb: .*localstorage: /);
  assert.deepEqual(client.storage.kind, "memory");
});

test("no WebSocket is a clear failure, no URL an immediate one", async () => {
  assert.throws(() => new InboxClient({ url: "nowhere" }));
  const had = globalThis.WebSocket;
  delete globalThis.WebSocket;
  try {
    const { client } = world({ WebSocket: undefined });
    await assert.rejects(client.connect(), { code: "failed" });
    assert.equal(client.failure.code, "no_websocket");
  } finally {
    if (had) globalThis.WebSocket = had;
  }
});
