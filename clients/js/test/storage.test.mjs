import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import fs from "node:fs";
import { once } from "node:events";
import { syncBuiltinESMExports } from "node:module";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { IDBDatabase as FDBDatabase, IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { FileStorage } from "../dist/src/storage/file.mjs";
import { IndexedDbStorage } from "../dist/src/storage/indexeddb.mjs";
import { LocalStorage } from "../dist/src/storage/local.mjs";
import { MemoryStorage } from "../dist/src/storage/memory.mjs";
import { settled, world } from "./_support.mjs";
import { openStorage } from "../dist/src/storage/choose.mjs";

globalThis.IDBKeyRange ??= IDBKeyRange;
const FRESH = { device: "minted", attempt: 0 };

/** What `localStorage` is, with a bound. */
class Keys {
  map = new Map();
  room = Infinity;
  get length() {
    return this.map.size;
  }
  key = (at) => [...this.map.keys()][at] ?? null;
  getItem = (key) => this.map.get(key) ?? null;
  removeItem = (key) => void this.map.delete(key);
  setItem(key, value) {
    if (!this.map.has(key) && this.map.size >= this.room) throw new Error("QuotaExceededError");
    this.map.set(key, value);
  }
}

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), "inboxd-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const item = (id, order = 1) => ({ id, order, to: "bob", body: { text: id }, createdAt: 1, triedAt: null, state: "queued" });
const sorted = ({ meta, marks, outbox }) => ({
  meta,
  marks: marks.sort((a, b) => a.t - b.t),
  outbox: outbox.sort((a, b) => a.order - b.order).map(({ id }) => id),
});

const KINDS = {
  memory: () => {
    const one = new MemoryStorage();
    return () => one;
  },
  localstorage: () => {
    const keys = new Keys();
    return () => new LocalStorage(keys);
  },
  indexeddb: () => {
    const factory = new IDBFactory();
    return () => new IndexedDbStorage(factory);
  },
  file: (t) => {
    const path = folder(t);
    let last;
    return async () => {
      await last?.close();
      return (last = new FileStorage(path));
    };
  },
};

for (const [kind, maker] of Object.entries(KINDS)) {
  test(`${kind}: what was written is there when it is opened again`, async (t) => {
    const make = maker(t);
    const first = await make();
    assert.equal(first.kind, kind);
    assert.deepEqual(await first.open("url|alice|", FRESH), { meta: FRESH, marks: [], outbox: [] });
    const marks = [
      { slot: 0, t: 1, cursor: "1-1", identity: "message/a/1" },
      { slot: -1, t: 2, cursor: "1-2" },
      { slot: 0, t: 3, cursor: "1-3", identity: "message/a:b/3" },
    ];
    const writes = [{ put: [item("a"), item("b:c", 2)] }, { meta: { attempt: 7 } }, ...marks.map((mark) => ({ mark }))];
    await Promise.all([...writes, { remove: ["a"] }, { put: [item("d", 3)], remove: ["nobody"] }].map((change) => first.write(change)));
    const second = await make();
    const saved = await second.open("url|alice|", { device: "other", attempt: 0 });
    assert.deepEqual(sorted(saved), { meta: { device: "minted", attempt: 7 }, marks: marks.slice(1), outbox: ["b:c", "d"] });
  });
}

for (const kind of ["localstorage", "indexeddb", "file"]) {
  test(`${kind}: scopes are apart, also where one name begins the other`, async (t) => {
    const make = KINDS[kind](t);
    for (const [scope, id] of [["a", "1"], ["a:mark", "2"], ["a|b", "3"]]) {
      const storage = await make();
      await storage.open(scope, { device: scope, attempt: 0 });
      await storage.write({ put: [item(id)], mark: { slot: 0, t: 1, cursor: id } });
    }
    const saved = await (await make()).open("a", FRESH);
    assert.deepEqual(sorted(saved), { meta: { device: "a", attempt: 0 }, marks: [{ slot: 0, t: 1, cursor: "1" }], outbox: ["1"] });
  });
}

test("two tabs that open at once agree on the device", async () => {
  const factory = new IDBFactory();
  const [one, two] = await Promise.all(["x", "y"].map((device) => new IndexedDbStorage(factory).open("s", { device, attempt: 0 })));
  assert.equal(one.meta.device, two.meta.device);
});

test("indexeddb: cursor and identity are one transaction, and the outbox waits for the disk", async (t) => {
  const factory = new IDBFactory();
  const storage = new IndexedDbStorage(factory);
  await storage.open("s", FRESH);
  const asked = [];
  const { transaction } = FDBDatabase.prototype;
  t.mock.method(FDBDatabase.prototype, "transaction", function (stores, mode, options) {
    asked.push(options.durability);
    return transaction.call(this, stores, mode, options);
  });
  await storage.write({ mark: { slot: 0, t: 1, cursor: "1-1", identity: "i" } });
  await storage.write({ put: [item("a")] });
  assert.deepEqual(asked, ["default", "strict"]);
});

test("localstorage that is full: of sends that were refused none comes back", async () => {
  const keys = new Keys();
  const { client } = world({ storage: new LocalStorage(keys) });
  void client.send("bob", 0, { id: "kept" });
  await settled();
  keys.room = keys.length + 1;
  const sends = ["a", "b", "c"].map((id) => client.send("bob", id, { id }));
  for (const send of sends.slice(1)) await assert.rejects(send, { code: "storage_failed" });
  await settled();
  const left = (await client.outbox()).map(({ id }) => id);
  keys.room = Infinity;
  const next = world({ storage: new LocalStorage(keys) });
  assert.deepEqual((await next.client.outbox()).map(({ id }) => id), left);
});

test("what was asked for and does not work is replaced by the next best, and says why", async () => {
  globalThis.indexedDB = { open: () => { throw new Error("private mode"); } };
  globalThis.localStorage = new Keys();
  try {
    assert.deepEqual((await openStorage(undefined, "s", FRESH)).info, { kind: "localstorage", durable: true, why: "indexeddb: private mode" });
    globalThis.localStorage.room = 0;
    const { info } = await openStorage("localstorage", "s2", FRESH);
    assert.deepEqual([info.kind, info.durable], ["memory", false]);
    globalThis.indexedDB = new IDBFactory();
    assert.deepEqual((await openStorage(undefined, "s", FRESH)).info, { kind: "indexeddb", durable: true });
    await assert.rejects(openStorage("paper", "s", FRESH), /paper/);
  } finally {
    delete globalThis.indexedDB;
    delete globalThis.localStorage;
  }
});

test("file: a torn last line does not count, and the next one is not joined to it", async (t) => {
  const path = folder(t);
  const first = new FileStorage(path);
  await first.open("s", FRESH);
  await first.write({ put: [item("a")] });
  await first.close();
  appendFileSync(join(path, "inboxd.jsonl"), '{"scope":"s","remove":["a"');
  const second = new FileStorage(path);
  assert.deepEqual(sorted(await second.open("s", FRESH)).outbox, ["a"]);
  await second.write({ put: [item("b", 2)] });
  await second.close();
  const third = new FileStorage(path);
  assert.deepEqual(sorted(await third.open("s", FRESH)).outbox, ["a", "b"]);
  await third.close();
});

test("file: damage in the middle is told, not skipped", async (t) => {
  const path = folder(t);
  writeFileSync(join(path, "inboxd.jsonl"), '{"scope":"s","meta":{}}\n{"scope":\n{"scope":"s","remove":["a"]}\n');
  await assert.rejects(new FileStorage(path).open("s", FRESH), /line 2/);
});

test("file: it is written anew when most of it says nothing any more", async (t) => {
  const path = folder(t);
  const storage = new FileStorage(path, { spare: 50 });
  await storage.open("s", FRESH);
  for (let n = 1; n <= 300; n++) {
    await storage.write({ mark: { slot: n % 10, t: n, cursor: `1-${n}`, identity: `i${n}` }, put: [item("a")], meta: { attempt: n } });
  }
  assert.ok(readFileSync(join(path, "inboxd.jsonl"), "utf8").split("\n").length < 80);
  await storage.close();
  const again = new FileStorage(path);
  const saved = sorted(await again.open("s", FRESH));
  assert.deepEqual([saved.meta.attempt, saved.outbox, saved.marks.length, saved.marks.at(-1).cursor], [300, ["a"], 10, "1-300"]);
  await again.close();
});

test("file: one process at a time, and a dead one holds nothing", async (t) => {
  const path = folder(t);
  const first = new FileStorage(path);
  await first.open("s", FRESH);
  await assert.rejects(new FileStorage(path).open("s", FRESH), new RegExp(`process ${process.pid} uses this storage`));
  await first.close();
  await assert.rejects(first.write({}), /not open/);
  writeFileSync(join(path, "inboxd.lock"), "1 0"); // a process of that number is there, but began at another time
  const second = new FileStorage(path);
  await second.open("s", FRESH);
  await second.close();
});

/** Writes items one after the other and says which are stored. */
const WRITER = `
import { FileStorage } from ${JSON.stringify(new URL("../dist/src/storage/file.mjs", import.meta.url).href)};
const storage = new FileStorage(process.argv[1], { spare: 20 });
const { outbox } = await storage.open("s", { device: "d", attempt: 0 });
for (let n = outbox.length; ; n++) {
  const id = "m" + n;
  await storage.write({ put: [{ id, order: n, body: "x".repeat(500) }], meta: { attempt: n } });
  process.stdout.write(id + "\\n");
}`;

test("file: killed at any moment, what was stored is there, and nothing torn", async (t) => {
  const path = folder(t);
  let known = 0;
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, ["--input-type=module", "-e", WRITER, path], { stdio: ["ignore", "pipe", "inherit"] });
    const goal = known + 5 + round * 7;
    for await (const line of createInterface({ input: child.stdout })) {
      known = Number(line.slice(1)) + 1;
      if (known >= goal) child.kill("SIGKILL");
    }
    if (child.signalCode === null) await once(child, "exit");
    const storage = new FileStorage(path);
    const { outbox } = await storage.open("s", FRESH);
    await storage.close();
    assert.ok(outbox.length >= known && outbox.length <= known + 1, `${outbox.length} of ${known}`);
    assert.ok(outbox.every(({ id }, n) => id === `m${n}`));
  }
  assert.ok(known > 50 && statSync(join(path, "inboxd.jsonl")).size > 0);
});

test("a lock without a name in it, of a process that died while it took it, is taken over", async () => {
  const path = mkdtempSync(join(tmpdir(), "inboxd-"));
  writeFileSync(join(path, "inboxd.lock"), "");
  const storage = new FileStorage(path);
  await storage.open("s", FRESH);
  await storage.close();
  rmSync(path, { recursive: true });
});

test("what is asked for while the file is closed is written, and it opens again", async () => {
  const path = mkdtempSync(join(tmpdir(), "inboxd-"));
  const storage = new FileStorage(path);
  await storage.open("s", FRESH);
  const both = storage.write({ meta: { attempt: 1 } }).then(() => storage.write({ meta: { attempt: 2 } }));
  await storage.close();
  await both;
  assert.equal((await storage.open("s", FRESH)).meta.attempt, 2);
  await storage.write({ meta: { attempt: 3 } });
  await storage.close();
  rmSync(path, { recursive: true });
});

test("nothing is written to the old file once the new one has its name", async () => {
  const path = mkdtempSync(join(tmpdir(), "inboxd-"));
  const storage = new FileStorage(path, { spare: 3 });
  await storage.open("s", FRESH);
  const { openSync } = fs;
  const full = (name, ...more) => {
    if (!String(name).endsWith(".new")) throw new Error("EMFILE");
    return openSync(name, ...more);
  };
  try {
    Object.assign(fs, { openSync: full });
    syncBuiltinESMExports();
    for (let n = 0; n < 12; n++) await storage.write({ put: [{ id: "one", n }] });
  } finally {
    Object.assign(fs, { openSync });
    syncBuiltinESMExports();
  }
  await storage.write({ put: [{ id: "kept" }] });
  await storage.close();
  const { outbox } = await new FileStorage(path).open("s", FRESH);
  assert.deepEqual(outbox, [{ id: "one", n: 11 }, { id: "kept" }]);
  rmSync(path, { recursive: true });
});
