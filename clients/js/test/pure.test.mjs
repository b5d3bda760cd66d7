import assert from "node:assert/strict";
import test from "node:test";
import { backoff, canonical, claimsOf, identityOf, uuidv7 } from "../dist/src/pure.mjs";

test("ids are UUIDs of version 7 that sort by time", () => {
  const ids = [0, 1, 1_700_000_000_000, 1_700_000_000_001].map((wall) => uuidv7(wall, Math.random));
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual([...ids].sort(), ids);
  assert.equal(uuidv7(2 ** 48 - 1, () => 0.999999).slice(0, 13), "ffffffff-ffff");
});

test("the back-off never exceeds its bounds", () => {
  assert.equal(backoff(0, 500, 20_000, () => 0.5), 250);
  assert.equal(backoff(5000, 500, 20_000, () => 1), 20_000);
});

test("claims are read from any token, and from no token", () => {
  const token = (claims) => `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.y`;
  assert.deepEqual(claimsOf(token({ exp: 5, sub: "a" })), { exp: 5, sub: "a" });
  assert.equal(claimsOf(token({ name: "żółć ~~~", exp: 7 })).exp, 7);
  for (const broken of ["", "abc", "a.b.c", token(null)]) assert.deepEqual(claimsOf(broken), {});
});

test("identities need an id", () => {
  assert.equal(identityOf({ type: "message", from: "a", id: "1" }), "message/a/1");
  assert.equal(identityOf({ type: "receipt", by: "b", id: "1" }), "receipt/b/1");
  assert.equal(identityOf({ type: "gap", id: "1" }), undefined);
  assert.equal(identityOf({ type: "deleted" }), undefined);
});

test("identities are of whoever said it, or of the group", () => {
  assert.equal(identityOf({ type: "receipt", cursor: "1-1", id: "read:m", by: "bob" }), "receipt/bob/read:m");
  assert.equal(identityOf({ type: "read", cursor: "1-1", id: "read:team:1", group: "team" }), "read/team/read:team:1");
  assert.equal(identityOf({ type: "message", cursor: "1-1", id: "m", from: "bob", group: "team" }), "message/bob/m");
});

test("equality is that of JSON values", () => {
  assert.equal(canonical([{ a: 1, b: { c: 2, d: 3 } }]), canonical([{ b: { d: 3, c: 2 }, a: 1 }]));
  assert.notEqual(canonical([1, 2]), canonical([2, 1]));
  assert.notEqual(canonical({ a: 1 }), canonical({ a: "1" }));
});
