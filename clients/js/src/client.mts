import { systemClock } from "./clock.mjs";
import { Connection } from "./connection.mjs";
import { type Core, report } from "./core.mjs";
import { ALL, Emitter } from "./emitter.mjs";
import { InboxError } from "./errors.mjs";
import { History } from "./history.mjs";
import { Messages } from "./messages.mjs";
import { onLine, watch } from "./network.mjs";
import { type Options, timing } from "./options.mjs";
import { Peers } from "./peers.mjs";
import { platformRandom, textOf, uuidv7 } from "./pure.mjs";
import { Receiver } from "./receiver.mjs";
import { Sender } from "./sender.mjs";
import { Status } from "./status.mjs";
import { openStorage } from "./storage/choose.mjs";
import type { Meta, Saved } from "./storage/storage.mjs";
import { Tabs } from "./tabs.mjs";
import type * as T from "./types.mjs";

/**
 * One device of one user. Receives each message once and in order, and sends what it was given until it is
 * accepted, over lost connections and restarts. See README.md for options, events, states and errors.
 */
export class InboxClient {
  readonly #options: Options;
  /** Which storage it is; `kind` is empty until `ready`. */
  readonly storage: T.StorageInfo = { kind: "", durable: false };
  #meta: Meta;
  #opening?: Promise<void>;
  #unwatch?: () => void;
  #iterators = new Set<Messages<any>>();
  readonly #scope: string;
  readonly #emitter: Emitter;
  readonly #core: Core;
  readonly #status: Status;
  readonly #connection: Connection;
  readonly #receiver: Receiver;
  readonly #sender: Sender;
  readonly #pages: History;
  readonly #peers: Peers;

  constructor(options: Options) {
    this.#options = options;
    const { url, user, device, getToken, clock = systemClock, random = platformRandom } = options;
    const base = new URL(url).href.replace(/\/+$/, "");
    const query = user && !getToken ? `?user=${encodeURIComponent(user)}` : "";
    this.#scope = [base, user, device].join("|");
    this.#meta = { device: device ?? uuidv7(clock.wall(), random), attempt: 0 };
    const emitter = (this.#emitter = new Emitter(() => this.#receiver.look()));
    const stats = { repeats: 0, received: 0, sent: 0, gaps: 0, connections: 0, lastPending: 0 };
    const core: Core = {
      clock,
      random,
      timing: timing(options),
      emitter,
      stats,
      storage: undefined!,
      tell: (post) => this.#peers.tell(post),
    };
    this.#core = core;
    this.#status = new Status(emitter);
    this.#connection = new Connection(core, options, `${base.replace(/^http/, "ws")}/v1/ws${query}`, {
      state: (change) => this.#peers.become(change),
      hello: () => this.#hello(),
      user: () => this.user,
      welcome: (frame, gen) => this.#welcome(frame, gen),
      frame: (frame) => this.#frame(frame),
      lost: () => this.#lost(),
    });
    this.#receiver = new Receiver(core, (cursor) => void this.#connection.write({ type: "ack", cursor }));
    this.#sender = new Sender(core, options.maxOutbox ?? 10_000, this.#receiver.inbox);
    this.#pages = new History((frame) => this.#connection.write(frame));
    this.#peers = new Peers(core, this.#status, this.#sender, this.#pages, this.#connection);
    const welcomed = (state: T.State): boolean => state === "replaying" || state === "live";
    emitter.on("state", ({ state, previous }) => welcomed(state) && !welcomed(previous) && this.#peers.watch());
  }

  get state(): T.State {
    return this.#status.state;
  }

  /** While `reconnecting`: when the next try is made, as of `Date.now()`. */
  get retryAt(): number | undefined {
    return this.#status.retryAt;
  }

  /** While `failed`: why. */
  get failure(): T.Failure | undefined {
    return this.#status.failure;
  }

  get user(): string | undefined {
    return this.#options.user ?? this.#meta.user;
  }

  /** Settled once `ready`. */
  get device(): string {
    return this.#meta.device;
  }

  /** Whether the connection is this tab's. */
  get leader(): boolean {
    return this.#status.wanted && !this.#peers.follower;
  }

  get stats(): T.Stats {
    return { ...this.#core.stats };
  }

  /** Answers how to stop. Handlers of entries may be async: the ack waits for them. */
  on<E extends keyof T.Events>(type: E, handler: T.Handler<T.Events[E]>): () => void {
    return this.#emitter.on(type, handler);
  }

  /** A message counts as handled when the next one is asked for; not when the loop is left. Ends with `close`. */
  messages(): AsyncIterableIterator<T.Message> {
    return this.#iterate("message");
  }

  /** The same of entries of every type. */
  entries(): AsyncIterableIterator<T.Entry> {
    return this.#iterate(ALL);
  }

  /** Resolves when storage is open; rejects where the application's own cannot be opened. */
  ready(): Promise<void> {
    return (this.#opening ??= this.#open().catch((error) => {
      this.#opening = undefined;
      throw new InboxError("storage_failed", textOf(error), { cause: error });
    }));
  }

  /** Resolves when the state is `live`, rejects when it is `failed` or `closed`. While waiting: tries at once. */
  connect(): Promise<void> {
    const [status, connection] = [this.#status, this.#connection];
    const { network } = this.#options;
    const online = (on: boolean): void => connection.when((link, now) => link.network(on, now));
    status.wanted = true;
    this.#unwatch ??= watch(network, online, () => this.#visible());
    online(onLine(network));
    this.ready().then(
      () => status.wanted && this.#begin(),
      ({ code, message }) =>
        status.wanted && status.become({ state: "failed", previous: "idle", code, reason: message }),
    );
    return status.live();
  }

  /** Ends the connection. Resolves when everything is written; a handler that runs is given a second. */
  async close(): Promise<void> {
    const status = this.#status;
    status.wanted = false;
    this.#unwatch?.();
    this.#unwatch = undefined;
    const handled = this.#receiver.close();
    this.#connection.when((link) => link.close());
    status.become({ state: "closed", previous: "idle" });
    for (const iterator of this.#iterators) iterator.end();
    this.#iterators.clear();
    await Promise.race([handled, new Promise<void>((resolve) => this.#core.clock.set(resolve, 1000))]);
    await this.#sender.writer.idle();
    if (!status.wanted) this.#peers.tabs?.leave();
  }

  /** Resolves with the acceptance, however long that takes; rejects with a `SendError`. */
  send(to: string | string[], body: unknown, options?: T.SendOptions): Promise<T.Acceptance> {
    return this.#send(() => ({ to, body }), options);
  }

  sendToGroup(group: string, body: unknown, options?: T.SendOptions): Promise<T.Acceptance> {
    return this.#send(() => ({ group, body }), options);
  }

  /** Of one's own message. In one order with the sends, like `delete` and `react`. */
  edit(message: T.MessageRef, body: unknown, options?: T.ChangeOptions): Promise<T.Acceptance> {
    return this.#change("edit", message, body, options);
  }

  /** Of one's own message: erased in every inbox. */
  delete(message: T.MessageRef, options?: T.ChangeOptions): Promise<T.Acceptance> {
    return this.#change("delete", message, undefined, options);
  }

  /** The newest reaction to a message counts; `null` takes it back. */
  react(message: T.MessageRef, body: unknown, options?: T.ChangeOptions): Promise<T.Acceptance> {
    return this.#change("react", message, body, options);
  }

  /** Its conversation was read, up to this message of another. Resolves when that is stored; said until the service knows. */
  read(message: T.MessageRef): Promise<void> {
    return this.#after(() => this.#sender.reads.read(message, this.user));
  }

  /** To whoever of these is online. Dropped unless `live`. */
  signal(to: { to: string | string[] } | { group: string }, body: unknown): void {
    if (this.state === "live") this.#peers.say({ type: "signal", ...to, body });
  }

  /** Asks for `presence` of these users, on this connection and those after it. */
  watch(users: string[]): void {
    for (const user of users) this.#peers.watched.add(user);
    this.#peers.watch(users);
  }

  unwatch(users: string[]): void {
    for (const user of users) this.#peers.watched.delete(user);
    if (users.length) this.#peers.say({ type: "unwatch", users });
  }

  /** Sends a `failed` or `stale` message again. */
  retry(id: string): Promise<T.Acceptance> {
    return this.#after(() => this.#sender.retry(id));
  }

  /** Gives a message up; one that was tried may be in all the same. */
  discard(id: string): Promise<void> {
    return this.#after(() => this.#sender.discard(id));
  }

  /** What is not yet accepted, in order. */
  outbox(): Promise<T.OutboxItem[]> {
    return this.#after(async () => {
      await this.#sender.writer.idle(); // what is told outlives a crash
      return structuredClone(this.#sender.outbox.list());
    });
  }

  /** One page of the past. Rejects `not_connected` where there is no connection. */
  history(query: T.HistoryQuery = {}): Promise<T.HistoryPage> {
    return this.#peers.ask(query);
  }

  /** Cuts the connection as a bad network would. The client comes back by itself. */
  drop(): void {
    if (this.leader) this.#connection.when((link, now) => link.cut(now));
    else this.#peers.post({ t: "drop" });
  }

  #iterate(type: string): Messages<any> {
    const iterator = new Messages<any>(this.#emitter, type);
    this.#iterators.add(iterator);
    return iterator;
  }

  #send(content: () => Partial<T.OutboxItem>, options: T.SendOptions = {}): Promise<T.Acceptance> {
    return this.#after(() => this.#sender.send(content(), options));
  }

  #change(
    type: T.Amendment["type"],
    { id: target, from, to, group }: T.MessageRef,
    body: unknown,
    options?: T.ChangeOptions,
  ): Promise<T.Acceptance> {
    return this.#send(() => {
      const author = from === this.user ? undefined : from;
      return { type, target, target_from: author, ...(group ? { group } : { to: author ?? to }), body };
    }, options);
  }

  #after<R>(work: () => Promise<R>): Promise<R> {
    const done = this.ready().then(work);
    done.catch(() => {}); // whoever does not look is no unhandled rejection
    return done;
  }

  async #open(): Promise<void> {
    const { storage, saved, info } = await openStorage(this.#options.storage, this.#scope, this.#meta);
    this.#core.storage = storage;
    this.#load(saved);
    Object.assign(this.storage, info);
    const { navigator, BroadcastChannel } = globalThis as any;
    const {
      tabs = true,
      locks = navigator?.locks,
      channel = BroadcastChannel && ((name) => new BroadcastChannel(name)),
    } = this.#options;
    if (tabs && storage.shared && locks && channel) {
      const name = `inboxd:${this.#scope}`;
      this.#peers.tabs = new Tabs(
        name,
        locks,
        channel(name),
        () => void this.#lead(),
        (post) => this.#peers.heard(post),
      );
    }
    this.#emitter.emit("storage", info);
  }

  #load({ meta, marks, outbox }: Saved): void {
    this.#meta = { ...meta, attempt: Math.max(meta.attempt, this.#meta.attempt) };
    this.#receiver.inbox.load(marks);
    for (const item of outbox.sort((a, b) => a.order - b.order)) this.#sender.merge(item, false);
  }

  #begin(): void {
    const [status, peers] = [this.#status, this.#peers];
    if (!peers.follower) return this.#connection.when((link, now) => link.connect(now));
    if (status.state === "closed" || status.state === "idle") status.become({ state: "connecting", previous: "idle" });
    peers.tabs!.join();
    peers.post({ t: "who" });
    peers.post({ t: "connect" });
  }

  /** The lock is ours: what the leader before us left is in storage. */
  async #lead(): Promise<void> {
    this.#pages.lost(); // whoever was asked is gone
    const { storage, clock, timing } = this.#core;
    try {
      this.#load(await storage.open(this.#scope, this.#meta));
    } catch (error) {
      report(this.#core, "storage_failed", error);
      clock.set(() => this.leader && void this.#lead(), timing.backoffFirst); // without it, it would all be handled anew
      return;
    }
    if (!this.leader) return;
    this.#emitter.emit("leader", { leader: true });
    this.#connection.when((link, now) => link.connect(now));
  }

  #visible(): void {
    this.#connection.when((link, now) => link.visible(now));
    if (this.#peers.follower) this.#peers.post({ t: "visible" });
  }

  async #hello(): Promise<Record<string, unknown>> {
    const attempt = ++this.#meta.attempt;
    await this.#keep({ attempt });
    return { device: this.#meta.device, cursor: this.#receiver.inbox.cursor, attempt, window: this.#options.window };
  }

  #keep(meta: Partial<Meta>): Promise<void> {
    Object.assign(this.#meta, meta);
    return this.#core.storage.write({ meta }).catch((error) => report(this.#core, "storage_failed", error));
  }

  #welcome(frame: T.Welcome, gen: number): void {
    const { stats } = this.#core;
    stats.connections++;
    stats.lastPending = frame.pending;
    if (this.#meta.user !== frame.user) void this.#keep({ user: frame.user });
    this.#receiver.start(gen, frame.window);
    this.#core.tell({ t: "event", type: "welcome", event: frame });
    this.#sender.start(frame.limits ?? {}, (text) => void this.#connection.write(text));
  }

  #lost(): void {
    this.#receiver.inbox.stop();
    this.#sender.stop();
    this.#pages.lost();
  }

  #frame(frame: T.Frame): void {
    const { type, id, ref, code, message } = frame;
    const error = type === "error";
    const entry = typeof frame["cursor"] === "string" && type !== "live" && (frame as unknown as T.Entry);
    if (entry && entry.from === this.user) this.#sender.proven(entry);
    if (type === "accepted") this.#sender.accepted(frame);
    else if (type === "history" || (error && ref !== undefined)) this.#pages.answer(frame as T.Frame & { ref: string });
    else if (error && id !== undefined) this.#sender.refused(frame);
    else if (error && frame["upto"] !== undefined && this.#sender.reads.refused(frame)) return;
    else if (entry) this.#receiver.push(entry);
    else this.#core.tell({ t: "event", type, event: error ? { code, message } : frame });
  }
}
