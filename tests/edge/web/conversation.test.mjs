import assert from "node:assert/strict";
import { test } from "node:test";

import { Conversation } from "../../../service/web/conversation.mjs";
import { MemoryStore } from "../../../service/web/memory.mjs";
import { recordsOf } from "../../../service/web/model.mjs";
import { blankRow } from "../../../service/web/rows.mjs";

const record = (n) =>
  recordsOf({ type: "message", id: `m-${n}`, from: "bob", to: "me", body: { text: `${n}` }, cursor: `${n}-${n}` }, "me")[0];

const records = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => record(from + index));

/** What a conversation needs of its session; `answer` ends the question that the server was asked last. */
function asked(store) {
  const session = { store, show() {} };
  session.history = () => new Promise((resolve) => (session.answer = () => resolve({ known: true, more: true })));
  return session;
}

test("older ones stand above, whatever else came while they were asked for", async () => {
  const store = new MemoryStore();
  await store.put(records(1, 300), { counts: false });
  const session = asked(store);
  const conversation = new Conversation(session, blankRow("bob"));
  await conversation.load();
  conversation.loading = false;
  assert.equal(conversation.records[0].seq, 251);
  const older = conversation.older();
  conversation.add(records(101, 300));
  session.answer();
  await older;
  const numbers = conversation.records.map((one) => one.seq);
  assert.deepEqual(numbers, records(101, 300).map((one) => one.seq));
});
