import assert from "node:assert/strict";
import test from "node:test";
import { InboxError } from "../dist/src/errors.mjs";
import { HttpError, InboxHttp } from "../dist/src/http.mjs";

/** A service whose answers the test has written. */
function service(...answers) {
  const asked = [];
  const fetch = async (url, { method, headers, body }) => {
    asked.push({ url, method, headers, body });
    const { status = 200, json, text = json === undefined ? "" : JSON.stringify(json), after } = answers.shift() ?? {};
    if (status === 0) throw new TypeError("fetch failed");
    return new Response(status === 204 ? null : text, { status, headers: after ? { "Retry-After": after } : {} });
  };
  return { asked, fetch, of: (more = { user: "alice" }) => new InboxHttp({ url: "http://chat.test/base/", fetch, ...more }) };
}

/** Method and path of what one call asks, and what it resolves with. */
async function call(answer, work) {
  const { asked, of } = service(answer);
  const result = await work(of());
  assert.deepEqual(asked[0].headers["X-Inboxd-User"], "alice");
  const { method, url, body } = asked[0];
  return [`${method} ${url.replace("http://chat.test/base/v1/", "")}`, result, ...(body ? [JSON.parse(body)] : [])];
}

test("every question has its place, and answers what is in the envelope", async () => {
  const done = { status: 204 };
  const cases = [
    [{ json: { conversations: [1] } }, (http) => http.conversations(), "GET conversations", [1]],
    [{ json: { id: "m" } }, (http) => http.fate("m:1+2"), "GET messages/m%3A1%2B2", { id: "m" }],
    [{ json: {} }, (http) => http.fate("m", { from: "a", to: "b@c" }), "GET messages/m?from=a&to=b%40c", {}],
    [{ json: { groups: [] } }, (http) => http.groups(), "GET groups", []],
    [{ json: { group: "t" } }, (http) => http.group("t"), "GET groups/t", { group: "t" }],
    [done, (http) => http.deleteGroup("t"), "DELETE groups/t", undefined],
    [done, (http) => http.addMember("t", "bob"), "PUT groups/t/members/bob", undefined],
    [done, (http) => http.removeMember("t", "bob"), "DELETE groups/t/members/bob", undefined],
    [{ json: { marks: [] } }, (http) => http.marks("t"), "GET groups/t/marks", []],
    [done, (http) => http.block("bob"), "PUT blocks/bob", undefined],
    [done, (http) => http.unblock("bob"), "DELETE blocks/bob", undefined],
    [{ json: { blocks: ["bob"] } }, (http) => http.blocks(), "GET blocks", ["bob"]],
  ];
  for (const [answer, work, asked, result] of cases) assert.deepEqual(await call(answer, work), [asked, result]);
  assert.deepEqual(await call({ status: 201 }, (http) => http.putGroup("t", { members: ["bob"], name: "Team" })), [
    "PUT groups/t", undefined, { members: ["bob"], name: "Team" },
  ]);
});

test("presence is asked of two hundred at a time", async () => {
  const users = Array.from({ length: 201 }, (_, n) => `u${n}`);
  const { asked, of } = service({ json: { presence: [1] } }, { json: { presence: [2] } });
  assert.deepEqual(await of().presence(users), [1, 2]);
  assert.match(asked[0].url, /presence\?user=u0&user=u1&.*user=u199$/);
  assert.match(asked[1].url, /presence\?user=u200$/);
  assert.deepEqual(await service().of().presence([]), []);
});

test("a problem is an error with its code, status and field", async () => {
  const problem = { type: "urn:inboxd:invalid_field", title: "t", status: 422, detail: "d", code: "invalid_field", field: "name" };
  await assert.rejects(service({ status: 422, json: problem }).of().groups(), (error) => {
    assert.ok(error instanceof HttpError && error instanceof InboxError);
    assert.deepEqual([error.code, error.message, error.status, error.field, error.retryAfter], ["invalid_field", "d", 422, "name", undefined]);
    return true;
  });
  await assert.rejects(service({ status: 503, json: { code: "unavailable" }, after: "2" }).of().groups(), { code: "unavailable", retryAfter: 2 });
  await assert.rejects(service({ status: 502, text: "<html>" }).of().groups(), { code: "malformed", status: 502 });
  await assert.rejects(service({ status: 200, text: "<html>" }).of().groups(), { code: "malformed" });
  await assert.rejects(service({ status: 0 }).of().groups(), { code: "unreachable", status: 0 });
});

test("a token is asked for once, and anew when it is refused", async () => {
  const refreshes = [];
  const getToken = ({ refresh }) => (refreshes.push(refresh), `t${refreshes.length}`);
  const { asked, of } = service({ json: { groups: [] } }, { status: 401, json: { code: "unauthenticated" } }, { json: { groups: [] } });
  const http = of({ getToken, user: "alice" });
  await http.groups();
  await http.groups();
  assert.deepEqual(refreshes, [false, true]);
  assert.deepEqual(asked.map(({ headers }) => headers), ["t1", "t1", "t2"].map((token) => ({ Authorization: `Bearer ${token}` })));
});

test("two that are refused at once ask for one fresh token, and a second refusal is told", async () => {
  const refreshes = [];
  const getToken = async ({ refresh }) => (refreshes.push(refresh), `t${refreshes.length}`);
  const [refused, fine] = [{ status: 401, json: { code: "unauthenticated" } }, { json: { groups: [] } }];
  const { asked, of } = service(refused, refused, fine, fine);
  const http = of({ getToken });
  await Promise.all([http.groups(), http.groups()]);
  assert.deepEqual(refreshes, [false, true]);
  assert.deepEqual(asked.map(({ headers }) => headers.Authorization.slice(-1)), ["1", "1", "2", "2"]);
  await assert.rejects(service(refused, refused).of({ getToken }).groups(), { code: "unauthenticated", status: 401 });
});

test("a token that cannot be had is told, and asked for again the next time", async () => {
  const tokens = [null, "t"];
  const http = service({ json: { groups: [] } }).of({ getToken: () => tokens.shift() });
  await assert.rejects(http.groups(), { code: "no_token", status: 0 });
  assert.deepEqual(await http.groups(), []);
});

test("the service may be named by its WebSocket's scheme", async () => {
  const { asked, fetch } = service({ json: { groups: [] } });
  await new InboxHttp({ url: "wss://chat.test", user: "alice", fetch }).groups();
  assert.equal(asked[0].url, "https://chat.test/v1/groups");
});
