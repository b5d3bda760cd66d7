// Drives the client from outside: commands as JSON lines on stdin, events as JSON lines on stdout.
// It is what the tests that are common to all clients use; no part of the package. Needs `npm run build`.
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import WebSocket from "ws";
import { InboxClient } from "../../service/web/sdk/inboxd.mjs";
import { InboxHttp } from "../../service/web/sdk/inboxd-http.mjs";
import { FileStorage } from "./dist/node.mjs";

const text = { type: "string" };
const names = ["url", "user", "device", "state", "log", "token-file", "ping-interval", "patience", "try-timeout", "ack-delay", "backoff-first",
  "backoff-most", "steady", "window", "max-outbox"];
const { values: given } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, text])) });
const ms = (name) => given[name] && { [name.replace(/-(.)/g, (_, c) => c.toUpperCase())]: Number(given[name]) * 1000 };

const say = (event) => writeSync(1, JSON.stringify(event) + "\n");
const die = () => process.kill(process.pid, "SIGKILL");
const log = given.log && openSync(given.log, "a");

let [failures, killIn, killAfter, last] = [0, false, false, undefined];
let held, letGo;

class Network extends EventTarget {
  onLine = true;
  set(online) {
    this.onLine = online;
    this.dispatchEvent(new Event(online ? "online" : "offline"));
  }
}

/** Kills the process when the cursor of a handled message is on the disk, before anything else can happen. */
class DeadlyStorage extends FileStorage {
  async write(change) {
    await super.write(change);
    if (killAfter && change.mark && change.mark.cursor === last) die();
  }
}

const readToken = () => {
  try {
    return readFileSync(given["token-file"], "utf8").trim();
  } catch {
    return null;
  }
};

const network = new Network();
const client = new InboxClient({
  url: given.url, user: given.user, device: given.device, storage: new DeadlyStorage(given.state), WebSocket, network,
  ...(given["token-file"] && { getToken: readToken }), ...(given.window && { window: Number(given.window) }),
  ...(given["max-outbox"] && { maxOutbox: Number(given["max-outbox"]) }),
  ...ms("ping-interval"), ...ms("patience"), ...ms("try-timeout"), ...ms("ack-delay"),
  ...ms("backoff-first"), ...ms("backoff-most"), ...ms("steady"),
});

const http = new InboxHttp({ url: given.url, user: given.user, ...(given["token-file"] && { getToken: readToken }) });

async function handle(message) {
  say({ event: "handling", message });
  if (killIn) die();
  if (failures > 0) {
    failures--;
    throw new Error("told to fail");
  }
  await held;
  if (log) {
    writeSync(log, JSON.stringify(message) + "\n");
    fsyncSync(log);
  }
  last = message.cursor;
  say({ event: "handled", cursor: message.cursor, id: message.id, from: message.from });
}

for (const type of ["message", "receipt", "read", "edit", "delete", "react", "group", "deleted"]) client.on(type, handle);
for (const type of ["gap", "presence", "signal", "broadcast", "accepted", "failed", "stale", "storage", "welcome"]) {
  client.on(type, (event) => say({ ...event, event: type }));
}
client.on("state", ({ previous: _, ...change }) => say({ event: "state", ...change }));
client.on("error", ({ code, message }) => say({ event: "error", code, message }));

const options = ({ id, expires_in: expiresIn, receipts }) => ({ id, expiresIn, receipts });
const quietly = (promise) => promise.catch(() => {}); // events tell
const commands = {
  connect: () => quietly(client.connect()),
  send: ({ to, body, ...more }) => client.send(to, body, options(more)).catch(refused),
  send_group: ({ group, body, ...more }) => client.sendToGroup(group, body, options(more)).catch(refused),
  edit: ({ message, body, id }) => client.edit(message, body, { id }).catch(refused),
  delete: ({ message, id }) => client.delete(message, { id }).catch(refused),
  react: ({ message, body, id }) => client.react(message, body, { id }).catch(refused),
  read: ({ message }) => quietly(client.read(message)),
  signal: ({ do: _, body, ...to }) => client.signal(to, body),
  watch: ({ users }) => client.watch(users),
  unwatch: ({ users }) => client.unwatch(users),
  hold: () => (held ??= new Promise((resolve) => (letGo = resolve))),
  release: () => (letGo?.(), (held = undefined)),
  fail: ({ times }) => (failures = times),
  retry: ({ id }) => quietly(client.retry(id)),
  discard: ({ id }) => quietly(client.discard(id).then(() => say({ event: "failed", id, code: "discarded" }))),
  outbox: async () => say({ event: "outbox", items: await client.outbox() }),
  history: ({ do: _, ...query }) =>
    client.history(query).then((page) => say({ event: "history", ...page }), ({ code }) => say({ event: "history_failed", code })),
  http: ({ call, args = [] }) =>
    http[call](...args).then((result = null) => say({ event: "http", result }), ({ code, status }) => say({ event: "http", code, status })),
  stats: () => say({ event: "stats", ...client.stats }),
  network: ({ online }) => network.set(online),
  drop: () => client.drop(),
  kill_in_handler: () => (killIn = true),
  kill_after_handler: () => (killAfter = true),
  close,
};

/** A send that never came into the outbox has no `failed` event of its own. */
async function refused({ id, code, message }) {
  const items = await client.outbox().catch(() => []);
  if (code !== "discarded" && !items.some((item) => item.id === id && item.error)) say({ event: "failed", id, code, message });
}

async function close() {
  await client.close();
  if (log) closeSync(log);
  process.exit(0);
}

client.ready().then(
  () => {
    say({ event: "ready", device: client.device });
    const lines = createInterface({ input: process.stdin });
    lines.on("line", (line) => {
      const command = JSON.parse(line);
      commands[command.do](command);
    });
    lines.on("close", close);
  },
  (error) => {
    say({ event: "error", code: error.code, message: error.message });
    process.exit(1);
  },
);
