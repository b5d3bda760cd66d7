import assert from "node:assert/strict";
import test from "node:test";
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { IndexedDbStorage } from "../dist/src/storage/indexeddb.mjs";
import { accepted, browser, FakeClock, message, settled, world } from "./_support.mjs";

globalThis.IDBKeyRange ??= IDBKeyRange;
const NAME = "inboxd:http://chat.test/base|alice|d";

/** Tabs of one browser, each with a client of the same device. */
function tabs(count) {
  const { locks, channel, crash } = browser();
  const factory = new IDBFactory();
  const clock = new FakeClock();
  const all = Array.from({ length: count }, () => {
    const channels = [];
    const open = (name) => (channels.push(channel(name)), channels.at(-1));
    const storage = new IndexedDbStorage(factory);
    const tab = world({ clock, storage, locks, channel: open, random: Math.random });
    tab.storage = storage;
    /** As when the browser kills the tab: nothing of it is heard any more. */
    tab.die = async () => {
      for (const one of channels) Object.assign(one, { dead: true });
      for (const socket of tab.wire.all) socket.send = () => {};
      tab.wire.FakeSocket.prototype.send = () => {};
      crash(NAME);
      await quiet();
    };
    return tab;
  });
  return { all, clock };
}

/** The storage's own turns take a while longer. */
async function quiet() {
  for (let turn = 0; turn < 6; turn++) await settled();
}

async function joined(...all) {
  for (const tab of all) {
    void tab.client.connect();
    await quiet();
  }
  const [leader] = all;
  await leader.wire.last().welcomes();
  await leader.wire.last().says({ type: "live", cursor: "0-0" });
  await quiet();
}

test("one tab has the connection, and every tab its state", async () => {
  const { all } = tabs(3);
  await joined(...all);
  assert.deepEqual(all.map(({ client }) => client.leader), [true, false, false]);
  assert.deepEqual(all.map(({ client }) => client.state), ["live", "live", "live"]);
  assert.deepEqual(all.map(({ wire }) => wire.all.length), [1, 0, 0]);
  await all[1].client.connect();
  const late = all[2];
  await late.client.close();
  void late.client.connect();
  await quiet();
  assert.equal(late.client.state, "live");
});

test("a follower's send goes out through the leader, and its promise gets the answer", async () => {
  const { all } = tabs(2);
  await joined(...all);
  const sending = all[1].client.send("bob", "hi", { id: "m1" });
  await quiet();
  assert.deepEqual(all[0].wire.last().all("send").map(({ id }) => id), ["m1"]);
  assert.equal((await all[1].client.outbox())[0].state, "sent");
  await all[0].wire.last().says(accepted("m1"));
  assert.equal((await sending).id, "m1");
  await quiet();
  for (const { client, events } of all) {
    assert.deepEqual(await client.outbox(), []);
    assert.ok(events.some(({ event, id }) => event === "accepted" && id === "m1"));
  }
});

test("each tab's handlers get each message, and the ack waits for the leader's", async () => {
  const { all, clock } = tabs(2);
  const seen = all.map(() => []);
  let letGo;
  const held = new Promise((resolve) => (letGo = resolve));
  all[0].client.on("message", async ({ id }) => (await held, seen[0].push(id)));
  all[1].client.on("message", ({ id }) => seen[1].push(id));
  await joined(...all);
  await all[0].wire.last().says(message(1));
  await quiet();
  assert.deepEqual(seen, [[], []]);
  letGo();
  await quiet();
  await clock.pass(100);
  assert.deepEqual(seen, [["m1"], ["m1"]]);
  assert.equal(all[0].wire.last().all("ack").length, 1);
  assert.equal(all[1].client.stats.received, 1);
});

test("when the leader dies another takes over from storage: same cursor, higher attempt, the outbox sent again", async () => {
  const { all, clock } = tabs(2);
  const seen = all.map(() => []);
  all.forEach(({ client }, n) => client.on("message", ({ id }) => seen[n].push(id)));
  await joined(...all);
  await all[0].wire.last().says(message(1));
  await quiet();
  const own = all[1].client.send("bob", 1, { id: "follower" });
  void all[0].client.send("bob", 2, { id: "leader" });
  await quiet();
  await all[0].die();
  assert.equal(all[1].client.leader, true);
  await all[1].wire.last().welcomes();
  await quiet();
  assert.deepEqual(all[1].wire.last().all("hello")[0], { type: "hello", device: "d", cursor: "1-1", attempt: 2 });
  assert.deepEqual(all[1].wire.last().all("send").map(({ id }) => id), ["follower", "leader"]);
  await all[1].wire.last().says(accepted("follower"), accepted("leader"), message(1, { replay: true }));
  await quiet();
  await clock.pass(100);
  assert.equal((await own).id, "follower");
  assert.deepEqual(seen[1], ["m1"]);
  assert.equal(all[1].client.stats.repeats, 1);
});

test("a leader that dies after its answer and before the delete costs nothing", async () => {
  const { all } = tabs(2);
  await joined(...all);
  const sending = all[1].client.send("bob", 1, { id: "m1" });
  await quiet();
  await all[0].wire.last().says(accepted("m1"));
  await sending;
  await all[0].die();
  await all[1].wire.last().welcomes();
  await quiet();
  assert.ok(all[1].wire.last().all("send").length <= 1); // a repeat is answered as one
});

test("a leader that closes hands over; a follower that closes takes nothing with it", async () => {
  const { all, clock } = tabs(3);
  await joined(...all);
  await all[2].client.close();
  assert.equal(all[0].client.state, "live");
  const closing = all[0].client.close();
  await clock.pass(1000);
  await closing;
  await quiet();
  assert.deepEqual(all.map(({ client }) => client.leader), [false, true, false]);
  assert.deepEqual(all.map(({ client }) => client.state), ["closed", "connecting", "closed"]);
});

test("drop, retry, discard, history and coming back reach the leader from any tab", async () => {
  const { all, clock } = tabs(2);
  await joined(...all);
  const [leader, follower] = all;
  const page = follower.client.history({ limit: 1 });
  await quiet();
  await leader.wire.last().says({ type: "history", ref: leader.wire.last().all("history")[0].ref, entries: [], more: false });
  await quiet();
  assert.deepEqual(await page, { entries: [], more: false });
  const sending = follower.client.send("bob", 1, { id: "m1" });
  await quiet();
  await leader.wire.last().says({ type: "error", id: "m1", code: "unavailable", message: "", retryable: true });
  await quiet();
  await follower.client.discard("m1");
  await quiet();
  await assert.rejects(sending, { code: "discarded" });
  assert.equal(leader.wire.last().all("skip").length, 1);
  const refused = follower.client.send("bob", 1, { id: "m2" });
  await clock.pass(1000);
  await quiet();
  await leader.wire.last().says({ type: "error", id: "m2", code: "refused", message: "", retryable: false });
  await quiet();
  await assert.rejects(refused, { code: "refused" });
  void follower.client.retry("m2");
  await quiet();
  assert.equal(leader.wire.last().all("send").filter(({ id }) => id === "m2").length, 2);
  follower.client.drop();
  await quiet();
  assert.equal(follower.client.state, "reconnecting");
  follower.network.dispatchEvent(new Event("visible"));
  await quiet();
  assert.equal(leader.client.state, "connecting");
});

test("what failed for good in the leader can be tried again from any tab", async () => {
  const { all } = tabs(2);
  await joined(...all);
  await all[0].wire.last().ends(4510, "removed");
  await quiet();
  assert.equal(all[1].client.state, "failed");
  assert.deepEqual(all[1].client.failure, { code: 4510, reason: "removed" });
  void all[1].client.connect();
  await quiet();
  assert.deepEqual(all.map(({ client }) => client.state), ["connecting", "connecting"]);
});

test("a tab that is closed just when its turn comes does not connect", async () => {
  const { all } = tabs(1);
  const [{ client, wire }] = all;
  client.on("state", () => {});
  void client.connect();
  await client.ready();
  await Promise.resolve(); // the lock is asked for
  await new Promise(queueMicrotask); // and ours, while storage is being read again
  assert.equal(client.leader, true);
  void client.close();
  await quiet();
  assert.equal(wire.all.length, 0);
  assert.equal(client.state, "closed");
});

test("where locks are forbidden everybody connects for himself", async () => {
  const { channel } = browser();
  const locks = { request: () => Promise.reject(new Error("SecurityError")) };
  const tab = world({ storage: new IndexedDbStorage(new IDBFactory()), locks, channel });
  void tab.client.connect();
  await quiet();
  assert.equal(tab.wire.all.length, 1);
  assert.equal(tab.client.leader, true);
});

test("history that nobody can answer is rejected: before connect, and when the leader that was asked dies", async () => {
  const { all } = tabs(2);
  const [leader, follower] = all;
  await follower.client.ready();
  await assert.rejects(follower.client.history(), { code: "not_connected" });
  await joined(...all);
  const page = follower.client.history();
  const rejected = assert.rejects(page, { code: "not_connected" });
  await quiet();
  await leader.die();
  await rejected;
  await follower.client.close();
});

test("a new leader whose storage fails tries again before it connects", async () => {
  const { all, clock } = tabs(2);
  const [leader, follower] = all;
  await joined(...all);
  const { open } = follower.storage;
  follower.storage.open = () => Promise.reject(new Error("lost"));
  await leader.die();
  assert.equal(follower.wire.all.length, 0);
  follower.storage.open = open;
  await clock.pass(1000);
  await quiet();
  assert.equal(follower.wire.all.length, 1);
  await follower.client.close();
});
