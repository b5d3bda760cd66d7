import assert from "node:assert/strict";
import { mock, test } from "node:test";

globalThis.document ??= Object.assign(new EventTarget(), { visibilityState: "visible" });
const { MemoryStore } = await import("../../../service/web/memory.mjs");
const { Session } = await import("../../../service/web/session.mjs");

test("a draft is kept until the outbox has the message, and what was written since stays", async () => {
  const store = new MemoryStore();
  let stored;
  const outbox = new Promise((resolve) => (stored = () => resolve([])));
  const client = { on() {}, outbox: () => outbox, send: () => new Promise(() => {}), stats: {}, leader: true };
  const session = new Session({ user: "a", device: "d", client, store, network: new EventTarget(), channel: null });
  for (const peer of ["bob", "eve"]) await session.draft(peer, "hi");
  const sent = [session.send("bob", "hi"), session.send("eve", "hi")];
  assert.equal(session.view.rows.get("bob").draft, "");
  await session.draft("eve", "and");
  assert.equal((await store.row("bob")).draft, "hi");
  stored();
  await Promise.all(sent);
  assert.equal((await store.row("bob")).draft, "");
  assert.equal((await store.row("eve")).draft, "and");
  assert.equal(session.view.rows.get("eve").draft, "and");
});

/** A client that only tells: who listens, and what was asked of it. */
class Teller {
  handlers = new Map();
  asked = [];
  stats = {};
  leader = true;
  on(type, handler) {
    this.handlers.set(handler, type);
    return () => this.handlers.delete(handler);
  }
  async tell(type, event) {
    for (const [handler, heard] of this.handlers) if (heard === type) await handler(event);
  }
  async outbox() {
    return [];
  }
  async close() {}
  async read(message) {
    this.asked.push(message.id);
  }
  watch() {}
  unwatch() {}
}

function sessionOf(http = {}) {
  const [client, store, network] = [new Teller(), new MemoryStore(), new EventTarget()];
  const session = new Session({ user: "alice", device: "d", client, http, store, network, channel: null });
  return { client, store, session };
}
const message = (seq, from, more = {}) => ({ type: "message", id: `m${seq}`, from, to: from === "alice" ? "bob" : "alice", body: { text: "hi" }, cursor: `${seq}-${seq}`, ts: seq, ...more });

test("after the end nothing of the client is heard", async () => {
  const { client, session } = sessionOf();
  assert.ok(client.handlers.size > 10);
  await session.end();
  assert.equal(client.handlers.size, 0);
});

test("a receipt is not lost where its message is stored after it", async () => {
  const { client, session } = sessionOf();
  await client.tell("receipt", { by: "bob", target: "m1", kind: "read", cursor: "2-2" });
  assert.equal(session.view.rows.get("bob").seen, null);
  await client.tell("message", message(1, "alice"));
  assert.deepEqual(session.view.rows.get("bob").seen, [1, 1]);
});

test("what is in view is said to be read: the newest of it, and once", async () => {
  const { client, session } = sessionOf();
  for (const seq of [1, 2, 3]) await client.tell("message", message(seq, "bob"));
  assert.equal(session.view.rows.get("bob").unread, 3);
  await session.open("bob");
  await session.readOpen();
  assert.deepEqual(client.asked, [], "nothing is drawn yet");
  Object.assign(session.conversation, { seen: "message/bob/m2", atEnd: false });
  await session.readOpen();
  assert.deepEqual(client.asked, ["m2"]);
  assert.equal(session.view.rows.get("bob").unread, 1);
  session.conversation.atEnd = true;
  await session.readOpen();
  await session.readOpen();
  assert.deepEqual(client.asked, ["m2", "m3"]);
  assert.equal(session.view.rows.get("bob").unread, 0);
});

test("what was read on another device is no longer unread here, and is not said again", async () => {
  const { client, session } = sessionOf();
  for (const seq of [1, 2, 3]) await client.tell("message", message(seq, "bob"));
  for (const seq of [4, 5]) await client.tell("message", message(seq, "bob", { to: undefined, group: "g", seq }));
  await client.tell("read", { from: "bob", upto: "m2", cursor: "6-6" });
  await client.tell("read", { group: "g", upto: 5, cursor: "7-7" });
  assert.equal(session.view.rows.get("bob").unread, 1);
  assert.equal(session.view.rows.get("#g").unread, 0);
  await session.open("#g");
  session.conversation.seen = "message/bob/m5";
  await session.readOpen();
  assert.deepEqual(client.asked, []);
  await session.end();
});

test("nobody types for longer than they say so, nor once their message is there", async () => {
  const { client, session } = sessionOf();
  const types = (more) => client.tell("signal", { from: "bob", to: "alice", body: { typing: true }, ...more });
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    await types();
    mock.timers.tick(4000);
    await types();
    mock.timers.tick(4000);
    assert.deepEqual(session.people.typing("bob"), ["bob"]);
    mock.timers.tick(1000);
    assert.deepEqual(session.people.typing("bob"), []);
    await types();
    await client.tell("message", message(1, "bob"));
    assert.deepEqual(session.people.typing("bob"), []);
    for (const more of [{ body: "typing" }, { body: null }, { from: "alice" }]) await types(more);
    assert.deepEqual([session.people.typing("bob"), session.people.typing("alice")], [[], []]);
    await types({ to: undefined, group: "g" });
    assert.deepEqual([session.people.typing("#g"), session.people.typing("bob")], [["bob"], []]);
  } finally {
    mock.timers.reset();
  }
});

test("that one types is said every three seconds at most, and only while there is a connection", async () => {
  const { client, session } = sessionOf();
  const said = [];
  client.signal = (where) => said.push(where);
  session.people.write("bob");
  session.view.connection = { state: "live" };
  for (let press = 0; press < 9; press++) session.people.write("bob");
  session.people.write("#g");
  assert.deepEqual(said, [{ to: "bob" }, { group: "g" }]);
  session.people.sent("bob");
  session.people.write("bob");
  assert.equal(said.length, 3);
});

test("a browser that has forgotten everything gets the list, with what is unread", async () => {
  const conversations = async () => [{ with: "bob", last: message(3, "bob"), unread: 2 }, { group: "g", last: message(2, "eve", { to: undefined, group: "g", seq: 1 }), unread: 0 }];
  const { client, session } = sessionOf({ conversations, blocks: async () => [] });
  client.history = async () => ({ entries: [message(3, "bob")], more: false });
  await client.tell("state", { state: "live" });
  await client.tell("live", { cursor: "3-3" });
  assert.deepEqual([...session.view.rows.values()].map((row) => [row.peer, row.last.id, row.unread]), [["bob", "m3", 2], ["#g", "m2", 0]]);
});

for (const [when, before, unread] of [["one", [1], 2], ["none", [], 2], ["one that was not counted yet", [1, 2, 3], 3]]) {
  test(`what the service has counted as unread is not counted again when it comes: ${when} had come`, async () => {
    let client, session;
    const come = async (seqs) => {
      for (const seq of seqs) await client.tell("message", message(seq, "bob"));
    };
    const conversations = async () => {
      await come(before);
      return [{ with: "bob", last: message(2, "bob"), unread: 2 }];
    };
    ({ client, session } = sessionOf({ conversations, blocks: async () => [] }));
    client.history = async () => ({ entries: [], more: false });
    await client.tell("state", { state: "live" });
    await client.tell("live", {});
    await come([1, 2]);
    assert.equal(session.view.rows.get("bob").unread, unread);
    await come([4]);
    assert.equal(session.view.rows.get("bob").unread, unread + 1);
  });
}

const beginning = async (conversations) => {
  const { client, session, store } = sessionOf({ conversations, blocks: async () => [] });
  client.history = async () => ({ entries: [], more: false });
  await client.tell("state", { state: "live" });
  await client.tell("live", {});
  const come = async (...seqs) => {
    for (const seq of seqs) await client.tell("message", message(seq, "bob"));
  };
  return { client, session, store, come, unread: (peer = "bob") => session.view.rows.get(peer).unread };
};

test("what the service has counted and is deleted later is not unread any more", async () => {
  const { client, store, come, unread } = await beginning(async () => [{ with: "bob", last: message(3, "bob"), unread: 2 }]);
  await store.put([{ ...(await store.page("bob", null, 9))[0], identity: "message/bob/m2", id: "m2", ms: 2, seq: 2 }], { counts: false });
  await client.tell("delete", { type: "delete", id: "d", from: "bob", to: "alice", target: "m2", cursor: "4-4", ts: 4 });
  assert.equal(unread(), 1);
  await come(5);
  assert.equal(unread(), 2);
});

test("an older answer after a newer one changes nothing", async () => {
  const { come, unread } = await beginning(async () => [
    { with: "bob", last: message(3, "bob"), unread: 3 }, { with: "bob", last: message(2, "bob"), unread: 2 },
  ]);
  assert.equal(unread(), 3);
  await come(1, 2, 3);
  assert.equal(unread(), 3);
});

test("what the service has counted and has not come when a part is read counts when it comes, once", async () => {
  const { session, come, unread } = await beginning(async () => [{ with: "bob", last: message(3, "bob"), unread: 3 }]);
  await come(1);
  session.take({ rows: [await session.readUpTo("bob", [1, 1])] });
  assert.equal(unread(), 1, "m3, which is stored");
  await come(2, 3);
  assert.equal(unread(), 2);
  session.take({ rows: [await session.readUpTo("bob", [3, 3])] });
  session.take({ rows: [await session.readUpTo("bob", [2, 2])] });
  assert.equal(unread(), 0, "told late, that an older one was read");
});

test("a group that was read elsewhere while the service counted stays read", async () => {
  const last = message(3, "bob", { to: undefined, group: "g", seq: 3 });
  let client;
  const conversations = async () => {
    await client.tell("read", { from: "alice", group: "g", upto: 3 });
    return [{ group: "g", last, unread: 3 }];
  };
  let session;
  ({ client, session } = sessionOf({ conversations, blocks: async () => [] }));
  client.history = async () => ({ entries: [], more: false });
  await client.tell("state", { state: "live" });
  await client.tell("live", {});
  assert.equal(session.view.rows.get("#g").unread, 0);
});

test("what comes while the service's count is taken over is neither lost nor counted twice", async () => {
  for (let turns = 0; turns < 12; turns++) {
    let coming;
    const conversations = async () => {
      coming = (async () => {
        for (let turn = 0; turn < turns; turn++) await null;
        await client.tell("message", message(2, "bob"));
      })();
      return [{ with: "bob", last: message(1, "bob"), unread: 1 }];
    };
    const { client, session } = sessionOf({ conversations, blocks: async () => [] });
    client.history = async () => ({ entries: [], more: false });
    await client.tell("state", { state: "live" });
    await client.tell("live", {});
    await coming;
    const row = session.view.rows.get("bob");
    assert.deepEqual([row.unread, row.last.id], [2, "m2"], `${turns} turns`);
  }
});

test("a list that could not be asked for is asked for again", async () => {
  let asked = 0;
  const conversations = async () => {
    if (asked++ === 0) throw new Error("no");
    return [{ with: "bob", last: message(3, "bob"), unread: 2 }];
  };
  const { client, session, unread } = await (async () => {
    const made = sessionOf({ conversations, blocks: async () => [] });
    made.client.history = async () => ({ entries: [message(3, "bob")], more: false });
    await made.client.tell("state", { state: "live" });
    await made.client.tell("live", {});
    return { ...made, unread: () => made.session.view.rows.get("bob").unread };
  })();
  assert.equal(unread(), 0);
  await client.tell("live", {});
  assert.equal(unread(), 2);
  assert.equal(asked, 2);
  await session.end();
});

test("what was read here while the service counted stays read", async () => {
  let client, session;
  const conversations = async () => {
    await client.tell("message", message(2, "bob"));
    await session.readUpTo("bob", [2, 2]);
    return [{ with: "bob", last: message(2, "bob"), unread: 1 }];
  };
  ({ client, session } = sessionOf({ conversations, blocks: async () => [] }));
  client.history = async () => ({ entries: [], more: false });
  await client.tell("state", { state: "live" });
  await client.tell("live", {});
  assert.equal(session.view.rows.get("bob").unread, 0);
});
