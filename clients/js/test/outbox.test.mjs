import assert from "node:assert/strict";
import test from "node:test";
import { frameOf, Outbox } from "../dist/src/outbox.mjs";

const LIMITS = { max_body: 1000, max_frame: 2000, dedupe_window: 100 };

function outbox(limits = LIMITS) {
  const one = new Outbox(500, 20_000, () => 1);
  if (limits) one.start(limits);
  return one;
}

function add(one, id, more = {}) {
  const item = { id, to: "bob", body: id, order: one.order(0), createdAt: 0, triedAt: null, state: "queued", ...more };
  one.put(item);
  return item;
}

/** Takes a turn and writes what it says. */
function turn(one, now = 0, wall = 0) {
  const result = one.turn(now, wall);
  for (const item of result.send) one.sent(item, wall);
  return result.send.map(({ id }) => id);
}

const ids = (items) => items.map(({ id }) => id);
const names = (count) => Array.from({ length: count }, (_, n) => `m${n}`);

test("nothing goes out before welcome, then everything in order", () => {
  const one = outbox(null);
  for (const id of names(3)) add(one, id);
  assert.deepEqual(turn(one), []);
  one.start(LIMITS);
  assert.deepEqual(turn(one), names(3));
  assert.deepEqual(turn(one), []);
});

test("at most 64 are on their way", () => {
  const one = outbox();
  for (const id of names(70)) add(one, id);
  assert.equal(turn(one).length, 64);
  one.accepted("m0");
  assert.deepEqual(turn(one), ["m64"]);
});

test("after a reconnect everything unanswered goes again, in its order", () => {
  const one = outbox();
  for (const id of names(3)) add(one, id);
  turn(one);
  one.accepted("m1");
  one.stop();
  assert.deepEqual(turn(one), []);
  one.start(LIMITS);
  assert.deepEqual(turn(one), ["m0", "m2"]);
});

test("an unavailable item and everything after it goes again after a wait, it first", () => {
  const one = outbox();
  for (const id of names(4)) add(one, id);
  turn(one);
  one.accepted("m0");
  assert.equal(one.refused("m1", "unavailable", "", true, 0), "again");
  assert.equal(one.refused("m2", "out_of_order", "", true, 0), "again");
  assert.deepEqual(turn(one, 499), []);
  assert.equal(one.due, 500);
  assert.deepEqual(turn(one, 500), []); // m3 is on its way
  assert.equal(one.refused("m3", "out_of_order", "", true, 600), "again"); // and waits no longer for that
  assert.deepEqual(turn(one, 500), ["m1", "m2", "m3"]);
});

test("the service's retry_after counts, and repeated refusals wait longer", () => {
  const one = outbox();
  add(one, "m0");
  turn(one);
  one.refused("m0", "unavailable", "", true, 0, 3);
  assert.deepEqual(turn(one, 2999), []);
  assert.deepEqual(turn(one, 3000), ["m0"]);
  one.refused("m0", "unavailable", "", true, 3000);
  assert.deepEqual(turn(one, 3999), []);
  assert.deepEqual(turn(one, 4000), ["m0"]);
});

test("a refusal for good stays with its error and holds up nobody", () => {
  const one = outbox();
  const item = add(one, "m0");
  add(one, "m1");
  turn(one);
  assert.equal(one.refused("m0", "id_reused", "no", false, 0), "failed");
  assert.deepEqual([item.state, item.error], ["failed", { code: "id_reused", message: "no" }]);
  assert.equal(one.accepted("m1").id, "m1");
  assert.deepEqual(turn(one), []);
});

test("a full inbox is for a human to retry, although the service says retryable", () => {
  const one = outbox();
  add(one, "m0");
  turn(one);
  assert.equal(one.refused("m0", "inbox_full", "", true, 0), "failed");
});

test("what was tried longer ago than the service remembers waits for a decision", () => {
  const one = outbox(null);
  add(one, "old", { triedAt: 0 });
  add(one, "edge", { triedAt: 1000 });
  add(one, "new");
  one.start(LIMITS);
  const { send, stale } = one.turn(0, 101_000);
  assert.deepEqual([ids(stale), ids(send)], [["old"], ["edge", "new"]]);
});

test("an item whose time is over fails before its first try, and settles its fate after it", () => {
  const one = outbox();
  add(one, "late", { expiresIn: 5 });
  add(one, "tried", { expiresIn: 5, triedAt: 1 });
  const { send, failed } = one.turn(0, 5000);
  assert.deepEqual([ids(failed), failed[0].error.code, ids(send)], [["late"], "expired", ["tried"]]);
  assert.equal(JSON.parse(frameOf(send[0], 5000)).expires_in, 1);
});

test("the seconds that are left are sent", () => {
  const one = outbox();
  const item = add(one, "m0", { expiresIn: 60 });
  assert.equal(JSON.parse(frameOf(item, 10_500)).expires_in, 50);
  assert.equal(JSON.parse(frameOf(item, -5000)).expires_in, 60); // a clock that was set back
  assert.equal("expires_in" in JSON.parse(frameOf(add(one, "m1"), 0)), false);
});

test("too large fails here: bytes count, not characters", () => {
  const one = outbox();
  add(one, "body", { body: "é".repeat(500) });
  add(one, "frame", { body: "x".repeat(990), to: names(400) });
  add(one, "fits", { body: "é".repeat(499) });
  const { send, failed } = one.turn(0, 0);
  assert.deepEqual([ids(failed), ids(send)], [["body", "frame"], ["fits"]]);
});

test("only an item that the service waits for has to be skipped", () => {
  const one = outbox();
  for (const id of names(3)) add(one, id);
  turn(one);
  one.refused("m0", "unavailable", "", true, 0);
  one.remove("m0");
  assert.equal(one.given("m0"), true);
  one.remove("m1");
  assert.equal(one.given("m1"), false);
  assert.equal(one.refused("m1", "unavailable", "", true, 0), "skip"); // given up while on its way
});

test("an item that comes late from elsewhere takes its place by order", () => {
  const one = outbox(null);
  add(one, "b", { order: 20 });
  add(one, "a", { order: 10 });
  one.merge({ id: "c", order: 15, state: "sent", to: "x", body: 1, createdAt: 0, triedAt: 0 }, false);
  assert.deepEqual(ids(one.list()), ["a", "c", "b"]);
  assert.equal(one.get("c").state, "queued");
  assert.ok(one.order(0) > 20);
});

/** As docs/protocol.md says of sends: after `unavailable` others are refused until that one comes again. */
class Service {
  accepted = [];
  waits = [];
  refused = [];

  take(id, fails) {
    if (this.accepted.includes(id)) return "accepted";
    if (this.waits.length && !this.waits.includes(id)) return "out_of_order";
    if (fails) {
      if (!this.waits.includes(id)) this.waits.push(id);
      return "unavailable";
    }
    this.waits = this.waits.filter((one) => one !== id);
    this.accepted.push(id);
    return "accepted";
  }
}

function random(seed) {
  return () => ((seed = (seed * 1103515245 + 12345) % 2 ** 31) >>> 8) / 2 ** 23;
}

test("whatever fails, is late or breaks, the first acceptances are in the order of the sends", () => {
  let refusals = 0;
  for (let seed = 1; seed <= 400; seed++) {
    const dice = random(seed);
    const one = new Outbox(500, 20_000, dice);
    const service = new Service();
    const due = names(30);
    let [now, up, pipe, answers] = [0, false, [], []];
    for (let steps = 0; service.accepted.length < 30 || one.size; steps++) {
      assert.ok(steps < 20_000, `seed ${seed} comes to no end`);
      const luck = steps > 2000 ? 1 : dice();
      if (!up) {
        service.waits = [];
        [up, pipe, answers] = [true, [], []];
        one.start({});
      } else if (luck < 0.02) {
        up = false;
        one.stop();
      } else if (luck < 0.3 && due.length) add(one, due.shift());
      else if (luck < 0.5 && pipe.length) {
        const id = pipe.shift();
        answers.push([id, service.take(id, luck < 0.34)]);
      } else if (luck < 0.7 && answers.length) {
        const [id, code] = answers.shift();
        if (code === "accepted") one.accepted(id);
        else one.refused(id, code, "", true, now);
        refusals += code !== "accepted";
      } else {
        now += dice() * 400;
        pipe.push(...turn(one, now, now));
        if (luck === 1) {
          for (const id of pipe.splice(0)) answers.push([id, service.take(id, false)]);
          for (const [id, code] of answers.splice(0)) code === "accepted" ? one.accepted(id) : one.refused(id, code, "", true, now);
          if (due.length) add(one, due.shift());
        }
      }
    }
    assert.deepEqual(service.accepted, names(30), `seed ${seed}`);
  }
  assert.ok(refusals > 1000);
});
