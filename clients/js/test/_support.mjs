// A clock that is moved by hand, a socket whose other end is the test, tabs in one process.
import { InboxClient } from "../dist/src/index.mjs";

export class FakeClock {
  time = 1_000_000;
  skew = 1_700_000_000_000;
  timers = new Map();
  last = 0;

  now = () => this.time;
  wall = () => this.time + this.skew;
  set = (run, ms) => (this.timers.set(++this.last, { run, due: this.time + (ms || 0) }), this.last);
  clear = (timer) => void this.timers.delete(timer);

  /** Moves on, ringing on the way whatever is due. */
  async pass(ms) {
    const until = this.time + ms;
    for (;;) {
      await settled();
      const [next] = [...this.timers].sort(([, a], [, b]) => a.due - b.due);
      if (!next || next[1].due > until) break;
      this.timers.delete(next[0]);
      this.time = Math.max(this.time, next[1].due);
      next[1].run();
    }
    this.time = until;
    await settled();
  }
}

/** Everything that can go on without time passing has gone on. */
export async function settled() {
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
}

export function sockets() {
  const all = [];
  class FakeSocket {
    sent = [];
    closed = undefined;
    readyState = 0;
    constructor(url) {
      this.url = url;
      all.push(this);
    }
    send(text) {
      if (this.readyState !== 1) throw new Error("not open");
      this.sent.push(...text.split("\n").map((line) => JSON.parse(line)));
    }
    close(code) {
      this.closed ??= code ?? 1005;
    }
    terminate() {
      this.closed ??= "terminated";
    }
    says(...frames) {
      this.onmessage?.({ data: frames.map((frame) => JSON.stringify(frame)).join("\n") });
      return settled();
    }
    opens() {
      this.readyState = 1;
      this.onopen?.({});
    }
    async welcomes(more = {}) {
      this.opens();
      await this.says({ ...WELCOME, ...more });
    }
    ends(code, reason = "") {
      this.readyState = 3;
      this.onclose?.({ code, reason });
      return settled();
    }
    all(type) {
      return this.sent.filter((frame) => frame.type === type);
    }
  }
  return { FakeSocket, all, last: () => all.at(-1) };
}

export const WELCOME = {
  type: "welcome", user: "alice", device: "d", session: "s", worker: "w", cursor: "0-0", head: "0-0", pending: 0, window: 256,
  limits: { max_body: 65536, max_frame: 1048576, dedupe_window: 86400 }, server: "0", ping_interval: 20,
};

export const message = (n, more = {}) => ({ type: "message", cursor: `${n}-${n}`, id: `m${n}`, from: "bob", to: "alice", body: n, ts: n, ...more });

export const accepted = (id) => ({ type: "accepted", id, ts: 1, duplicate: false, durability: "appended", recipients: [] });

export class FakeNetwork extends EventTarget {
  onLine = true;
  set(online) {
    this.onLine = online;
    this.dispatchEvent(new Event(online ? "online" : "offline"));
  }
}

/** A client with everything around it in the test's hands. */
export function world(options = {}) {
  const clock = options.clock ?? new FakeClock();
  const wire = sockets();
  const network = new FakeNetwork();
  const client = new InboxClient({
    url: "http://chat.test/base/", user: "alice", device: "d", storage: "memory", WebSocket: wire.FakeSocket, network, clock, random: () => 0.5,
    ...options,
  });
  const events = [];
  for (const type of ["state", "error", "accepted", "failed", "stale", "storage", "gap", "leader"]) client.on(type, (event) => events.push({ event: type, ...event }));
  const states = () => events.filter(({ event }) => event === "state").map(({ state }) => state);
  const live = async () => {
    void client.connect();
    await settled();
    await wire.last().welcomes();
    await wire.last().says({ type: "live", cursor: "0-0" });
  };
  return { client, clock, wire, network, events, states, live };
}

/** Web Locks and BroadcastChannel of one browser. */
export function browser() {
  const queues = new Map();
  const channels = new Map();
  const next = (name) => {
    const queue = queues.get(name);
    if (!queue?.length || queue.held) return;
    const { held, resolve } = queue.shift();
    queue.held = true;
    held().then(() => {
      queue.held = false;
      resolve();
      next(name);
    });
  };
  const locks = {
    request: (name, { signal }, held) =>
      new Promise((resolve, reject) => {
        const queue = queues.get(name) ?? [];
        queues.set(name, queue);
        const entry = { held, resolve };
        signal.addEventListener("abort", () => {
          const at = queue.indexOf(entry);
          if (at >= 0) queue.splice(at, 1);
          if (at >= 0) reject(signal.reason);
        });
        queue.push(entry);
        queueMicrotask(() => next(name));
      }),
  };
  const channel = (name) => {
    const peers = channels.get(name) ?? new Set();
    channels.set(name, peers);
    const own = {
      onmessage: null,
      dead: false,
      postMessage(data) {
        const copy = structuredClone(data);
        if (!own.dead) for (const peer of peers) if (peer !== own && !peer.dead) setImmediate(() => peer.onmessage?.({ data: copy }));
      },
      close: () => peers.delete(own),
    };
    peers.add(own);
    return own;
  };
  /** The tab is gone without a word: its lock is free, its channel silent. */
  const crash = (name) => {
    queues.get(name).held = false;
    next(name);
  };
  return { locks, channel, crash };
}
