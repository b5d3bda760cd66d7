import assert from "node:assert/strict";
import test from "node:test";
import { Window } from "happy-dom";
import { settled, world } from "./_support.mjs";

const window = new Window();
Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: true });
globalThis.navigator ??= window.navigator;
const { act, createElement: h, StrictMode } = await import("react");
const { createRoot } = await import("react-dom/client");
const { renderToString } = await import("react-dom/server");
const { useInbox, useInboxEvent, useOutbox } = await import("../dist/react.mjs");

function Chat({ client, seen }) {
  const { state } = useInbox(client);
  const items = useOutbox(client);
  useInboxEvent(client, "message", ({ id }) => seen.push(id));
  return h("p", null, `${state} ${items.map(({ id }) => id).join(",")}`);
}

test("the hooks show state and outbox, and take messages while they are mounted", async (t) => {
  const { client, wire, clock, live } = world();
  const seen = [];
  const box = document.createElement("div");
  const root = createRoot(box);
  await act(async () => root.render(h(StrictMode, null, h(Chat, { client, seen }))));
  assert.equal(box.textContent, "idle ");
  await act(live);
  assert.equal(box.textContent, "live ");
  await act(async () => {
    void client.send("bob", 1, { id: "m1" });
    await settled();
  });
  assert.equal(box.textContent, "live m1");
  await act(() => wire.last().says({ type: "message", cursor: "1-1", id: "x", from: "bob", body: 1, ts: 1 }));
  assert.deepEqual(seen, ["x"]);
  await act(async () => root.unmount());
  await wire.last().says({ type: "message", cursor: "2-2", id: "y", from: "bob", body: 1, ts: 1 });
  await clock.pass(100);
  assert.deepEqual(seen, ["x"]); // it waits for the next who listens
  t.after(() => window.happyDOM.close());
});

test("the hooks render on a server", () => {
  const { client } = world();
  assert.match(renderToString(h(Chat, { client, seen: [] })), /idle/);
});
