import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document ??= { addEventListener() {}, visibilityState: "visible" };
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
