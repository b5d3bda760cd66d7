import assert from "node:assert/strict";
import test from "node:test";
import { Link } from "../dist/src/link.mjs";

const TIMING = { ackDelay: 20, patience: 10_000, tryTimeout: 10_000, backoffFirst: 500, backoffMost: 20_000, steady: 5_000 };

function link(random = () => 1) {
  const one = new Link(TIMING, random, true);
  one.take = () => one.effects.splice(0);
  return one;
}

/** The wait of the last change of state. */
const waited = (one) => one.take().filter(({ wait }) => wait !== undefined).at(-1)?.wait;

function connected(one, now = 0) {
  one.connect(now);
  one.welcome(now, 20_000);
  one.live(now);
  one.take();
  return one;
}

test("a connection goes through its states in order", () => {
  const one = link();
  one.connect(0);
  one.welcome(10, 20_000);
  one.live(20);
  one.close();
  assert.deepEqual(one.take().flatMap(({ change }) => change?.state ?? []), ["connecting", "replaying", "live", "closed"]);
});

test("the wait doubles from half a second and stops at twenty", () => {
  const one = link();
  one.connect(0);
  const waits = Array.from({ length: 8 }, () => {
    one.lost(one.gen, 1006, "", 0);
    const wait = waited(one);
    one.tick(one.due);
    return wait;
  });
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
});

test("jitter is full: the wait may be nothing", () => {
  const one = link(() => 0);
  one.connect(0);
  one.lost(one.gen, 1006, "", 0);
  assert.equal(waited(one), 0);
});

test("only a connection that lasted begins the back-off anew", () => {
  const one = link();
  one.connect(0);
  for (let n = 0; n < 3; n++) {
    one.lost(one.gen, 1006, "", 0);
    one.tick(one.due);
  }
  one.welcome(0, 20_000);
  one.lost(one.gen, 1006, "", 4_999);
  assert.equal(waited(one), 4000);
  one.tick(one.due);
  one.welcome(10_000, 20_000);
  one.lost(one.gen, 1006, "", 15_000);
  assert.equal(waited(one), 500);
});

test("the service's hint replaces the next wait, once", () => {
  const one = connected(link());
  one.closing(1234);
  one.lost(one.gen, 1012, "", 100);
  assert.equal(waited(one), 1234);
  one.tick(one.due);
  one.lost(one.gen, 1006, "", 5000);
  assert.equal(waited(one), 500);
});

for (const code of [1000, 1001, 1006, 1009, 1011, 1012, 1013, 3000, 4000, 4001, 4003, 4499]) {
  test(`close code ${code} says to come back`, () => {
    const one = connected(link());
    one.lost(one.gen, code, "", 100);
    assert.equal(one.state, "reconnecting");
  });
}

for (const code of [4500, 4503, 4509, 4510, 4999]) {
  test(`close code ${code} says to stay away`, () => {
    const one = connected(link());
    one.lost(one.gen, code, "why", 100, true);
    assert.equal(one.state, "failed");
    assert.deepEqual(one.failure, { code, reason: "why" });
    assert.equal(one.due, Infinity);
    one.visible(1e9);
    one.network(true, 1e9);
    assert.equal(one.state, "failed");
    one.connect(1e9);
    assert.equal(one.state, "connecting");
  });
}

test("a token that is over is renewed at once, but not in a loop", () => {
  const one = connected(link());
  one.lost(one.gen, 4002, "", 100, true);
  assert.ok(one.take().some((effect) => effect.do === "try" && effect.refresh));
  one.lost(one.gen, 4002, "", 100, true);
  assert.equal(one.state, "reconnecting");
});

test("a refused token gets one more chance", () => {
  const one = link();
  one.connect(0);
  one.lost(one.gen, 4501, "", 0, true);
  assert.ok(one.take().some((effect) => effect.do === "try" && effect.refresh && effect.refused));
  one.lost(one.gen, 4501, "", 0, true);
  assert.equal(one.state, "failed");
  one.connect(1);
  assert.ok(one.take().some((effect) => effect.do === "try" && effect.refresh && !effect.refused));
});

test("without another token to ask for, refused is refused", () => {
  const one = link();
  one.connect(0);
  one.lost(one.gen, 4501, "", 0, false);
  assert.equal(one.state, "failed");
});

test("silence is tested by a ping, and ended when nothing comes back", () => {
  const one = connected(link());
  assert.equal(one.due, 20_000);
  one.tick(20_000);
  assert.deepEqual(one.take(), [{ do: "ping" }]);
  assert.equal(one.due, 30_000);
  one.heard(25_000);
  assert.equal(one.due, 45_000);
  one.tick(45_000);
  one.take();
  one.tick(55_000);
  assert.equal(one.state, "reconnecting");
  assert.deepEqual(one.take()[0], { do: "drop", polite: false });
});

test("a try without welcome ends after its time", () => {
  const one = link();
  one.connect(0);
  one.tick(9_999);
  assert.equal(one.state, "connecting");
  one.tick(10_000);
  assert.equal(one.state, "reconnecting");
});

test("events of an older socket do not count", () => {
  const one = connected(link());
  const old = one.gen;
  one.cut(0);
  one.tick(one.due);
  one.take();
  one.lost(old, 4509, "", 1);
  assert.equal(one.state, "connecting");
  assert.deepEqual(one.take(), []);
});

test("offline drops the connection and tries nothing; online tries at once", () => {
  const one = connected(link());
  one.network(false, 0);
  assert.equal(one.state, "offline");
  one.connect(1);
  assert.equal(one.state, "offline");
  one.visible(2);
  assert.equal(one.state, "offline");
  one.network(true, 3);
  assert.equal(one.state, "connecting");
});

test("a wait is over when the page is seen again, or somebody asks", () => {
  for (const end of ["visible", "connect"]) {
    const one = connected(link());
    one.cut(0);
    one[end](1);
    assert.equal(one.state, "connecting");
  }
});

test("closing while connecting leaves nothing behind", () => {
  const one = link();
  one.connect(0);
  const { gen } = one;
  one.close();
  one.lost(gen, 1006, "", 0);
  one.tick(1e9);
  assert.equal(one.state, "closed");
  assert.equal(one.due, Infinity);
});
