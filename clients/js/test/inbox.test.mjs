import assert from "node:assert/strict";
import test from "node:test";
import { Inbox } from "../dist/src/inbox.mjs";

const entry = (n, more = {}) => ({ type: "message", cursor: `1-${n}`, id: `m${n}`, from: "bob", ...more });

function through(inbox) {
  const step = inbox.take();
  const mark = inbox.mark(step);
  inbox.stored(step, mark);
  return { ...step, mark };
}

function started(inbox = new Inbox(), window = 8) {
  inbox.start(1, window);
  return inbox;
}

test("the same entry at another position is a repeat", () => {
  const inbox = started();
  inbox.push(entry(1));
  inbox.push(entry(1, { cursor: "1-2" }));
  assert.equal(through(inbox).repeat, false);
  assert.equal(through(inbox).repeat, true);
  assert.equal(inbox.cursor, "1-2");
});

test("a late repeat moves no cursor back, and cursors are compared as numbers", () => {
  const inbox = started();
  for (const n of [9, 10, 9]) inbox.push(entry(n));
  for (const cursor of ["1-9", "1-10", "1-10"]) {
    through(inbox);
    assert.equal(inbox.cursor, cursor);
  }
  assert.equal(inbox.ack(), "1-10");
});

test("another entry at the same position is none", () => {
  const inbox = started();
  inbox.push(entry(1));
  inbox.push(entry(1, { id: "other" }));
  through(inbox);
  assert.equal(through(inbox).repeat, false);
});

test("kind, sender and id make the identity", () => {
  const inbox = started();
  for (const more of [{}, { type: "receipt", from: undefined, by: "bob" }, { from: "carol" }, { id: "m2" }]) {
    inbox.push(entry(1, more));
    assert.equal(through(inbox).repeat, false);
  }
});

test("a gap has no identity, and moves the cursor even backwards", () => {
  const inbox = started();
  inbox.push(entry(9));
  inbox.push({ type: "gap", cursor: "1-3", reason: "rewound" });
  through(inbox);
  assert.equal(inbox.cursor, "1-9");
  const { mark } = through(inbox);
  assert.equal(inbox.cursor, "1-3");
  const again = new Inbox();
  again.load([mark, { slot: 0, t: 1, cursor: "1-9", identity: "message/bob/m9" }]);
  assert.equal(again.cursor, "1-3");
});

test("acks wait for company until a quarter of the window is unacked", () => {
  const inbox = started(new Inbox(), 8);
  inbox.push(entry(1));
  inbox.push(entry(2));
  assert.equal(inbox.owed, undefined);
  through(inbox);
  assert.equal(inbox.owed, "later");
  through(inbox);
  assert.equal(inbox.owed, "now");
  assert.equal(inbox.ack(), "1-2");
  assert.equal(inbox.ack(), undefined);
});

test("what was received on an older connection is stored, and not acked on this one", () => {
  const inbox = started();
  inbox.push(entry(1));
  inbox.push(entry(2));
  const step = inbox.take();
  inbox.start(2, 8);
  inbox.stored(step, inbox.mark(step));
  assert.equal(inbox.cursor, "1-1");
  assert.equal(inbox.owed, undefined);
  assert.equal(inbox.take(), undefined); // the second comes again
  inbox.push(entry(1));
  assert.equal(through(inbox).repeat, true);
  assert.equal(inbox.ack(), "1-1");
});

test("the newest identities are kept, over restarts, and no more of them", () => {
  const stored = new Map();
  let inbox = started(new Inbox(10));
  for (let n = 1; n <= 25; n++) {
    inbox.push(entry(n));
    const { mark } = through(inbox);
    stored.set(mark.slot, mark);
    if (n % 7 === 0) {
      inbox = new Inbox(10);
      inbox.load([...stored.values()].reverse());
      inbox.start(1, 8);
    }
  }
  assert.equal(stored.size, 10);
  const last = new Inbox(10);
  last.load([...stored.values()]);
  last.start(1, 8);
  assert.equal(last.cursor, "1-25");
  for (let n = 1; n <= 25; n++) {
    last.push(entry(n));
    assert.equal(last.take().repeat, n > 15, `entry ${n}`);
  }
});
