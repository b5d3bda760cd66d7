import { systemClock } from "./clock.mjs";
import { Connection } from "./connection.mjs";
import { type Core, report } from "./core.mjs";
import { Emitter } from "./emitter.mjs";
import { InboxError, SendError } from "./errors.mjs";
import { History } from "./history.mjs";
import { Messages } from "./messages.mjs";
import { onLine, watch } from "./network.mjs";
import { type Options, timing } from "./options.mjs";
import { platformRandom, uuidv7 } from "./pure.mjs";
import { ENTRIES, LEFT, Receiver } from "./receiver.mjs";
import { Sender } from "./sender.mjs";
import { openStorage } from "./storage/choose.mjs";
import type { Meta, Saved } from "./storage/storage.mjs";
import { type Post, Tabs } from "./tabs.mjs";
import type * as T from "./types.mjs";

/** Frames without a cursor that are passed on as events. */
const EVENTS = new Set(["presence", "signal", "broadcast", "live"]);

/**
 * One device of one user. Receives each message once and in order, and sends what it was given until it is
 * accepted, over lost connections and restarts. See README.md for options, events, states and errors.
 */
export class InboxClient {
  readonly storage: T.StorageInfo = { kind: "", durable: false };
  private current: T.State = "idle";
  private retry_?: number;
  private failure_?: T.Failure;
  private wanted = false;
  private meta: Meta;
  private opening?: Promise<void>;
  private tabs?: Tabs;
  private unwatch?: () => void;
  private goals: { resolve(): void; reject(error: InboxError): void }[] = [];
  private iterators = new Set<Messages>();
  private readonly scope: string;
  private readonly emitter = new Emitter(() => this.receiver.look());
  private readonly core: Core;
  private readonly connection: Connection;
  private readonly receiver: Receiver;
  private readonly sender: Sender;
  private readonly pages: History;

  constructor(private readonly options: Options) {
    const { url, user, device, getToken, clock = systemClock, random = platformRandom } = options;
    const base = new URL(url).href.replace(/\/+$/, "");
    const query = user && !getToken ? `?user=${encodeURIComponent(user)}` : "";
    this.scope = [base, user ?? "", device ?? ""].join("|");
    this.meta = { device: device ?? uuidv7(clock.wall(), random), attempt: 0 };
    const stats = { repeats: 0, received: 0, sent: 0, gaps: 0, connections: 0, lastPending: 0 };
    const { emitter } = this;
    this.core = { clock, random, timing: timing(options), emitter, stats, storage: undefined as any };
    this.connection = new Connection(this.core, options, `${base.replace(/^http/, "ws")}/v1/ws${query}`, {
      state: (change) => this.become(change),
      hello: () => this.hello(),
      user: () => this.user,
      welcome: (frame, gen) => this.welcome(frame, gen),
      frame: (frame) => this.frame(frame),
      lost: () => this.lost(),
    });
    this.receiver = new Receiver(this.core, {
      ack: (cursor) => void this.connection.write({ type: "ack", cursor }),
      handled: (entry) => this.post({ t: "entry", entry, stats }),
    });
    this.sender = new Sender(this.core, options.maxOutbox ?? 10_000, {
      changed: (put, remove) => this.changed(put, remove),
      accepted: (id, acceptance) => this.accepted({ t: "accepted", id, acceptance }),
      failed: (id, code, message) => this.failed({ t: "failed", id, code, message }),
      stale: (id) => this.tell("stale", { id }),
    });
    this.pages = new History((frame) => this.connection.write(frame));
  }

  get state(): T.State {
    return this.current;
  }

  /** While `reconnecting`: when the next try is made, as of `Date.now()`. */
  get retryAt(): number | undefined {
    return this.retry_;
  }

  /** While `failed`: why. */
  get failure(): T.Failure | undefined {
    return this.failure_;
  }

  get user(): string | undefined {
    return this.options.user ?? this.meta.user;
  }

  /** Settled once storage is open: see `ready`. */
  get device(): string {
    return this.meta.device;
  }

  /** Whether the connection is this tab's. */
  get leader(): boolean {
    return this.tabs?.leader ?? this.wanted;
  }

  get stats(): T.Stats {
    return { ...this.core.stats };
  }

  on<E extends keyof T.Events>(type: E, handler: T.Handler<T.Events[E]>): () => void {
    return this.emitter.on(type, handler);
  }

  messages(): AsyncIterableIterator<T.Message> {
    const iterator = new Messages(this.emitter);
    this.iterators.add(iterator);
    return iterator;
  }

  /** Resolves when storage is open; rejects where the application's own cannot be opened. */
  ready(): Promise<void> {
    return (this.opening ??= this.open().catch((error) => {
      this.opening = undefined;
      throw new InboxError("storage_failed", error.message, { cause: error });
    }));
  }

  /** Resolves when the state is `live`, rejects when it is `failed` or `closed`. While waiting: tries at once. */
  connect(): Promise<void> {
    this.wanted = true;
    this.unwatch ??= watch(this.options.network, (online) => this.connection.network(online), () => this.visible());
    this.connection.network(onLine(this.options.network));
    if (this.current === "live") return Promise.resolve();
    const live = new Promise<void>((resolve, reject) => this.goals.push({ resolve, reject }));
    live.catch(() => {});
    this.ready().then(
      () => this.wanted && this.begin(),
      (error) => this.wanted && this.become({ state: "failed", previous: this.current, code: error.code, reason: error.message }),
    );
    return live;
  }

  /** Ends the connection. Resolves when everything is written; a handler that runs is given a second. */
  async close(): Promise<void> {
    this.wanted = false;
    this.unwatch?.();
    this.unwatch = undefined;
    const handled = this.receiver.close();
    this.connection.close();
    this.become({ state: "closed", previous: this.current });
    for (const iterator of this.iterators) iterator.end();
    this.iterators.clear();
    const { clock } = this.core;
    await Promise.race([handled, new Promise<void>((resolve) => clock.set(resolve, 1000))]);
    await this.sender.writer.idle();
    if (!this.wanted) this.tabs?.leave();
  }

  /** Resolves with the acceptance, however long that takes; rejects with a `SendError`. */
  send(to: string | string[], body: unknown, options: T.SendOptions = {}): Promise<T.Acceptance> {
    return this.after(() => this.sender.send(to, body, options));
  }

  /** Sends a `failed` or `stale` message again. */
  retry(id: string): Promise<T.Acceptance> {
    return this.after(() => this.sender.retry(id));
  }

  /** Gives a message up; one that was tried may be in all the same. */
  discard(id: string): Promise<void> {
    return this.after(() => this.sender.discard(id));
  }

  /** What is not yet accepted, in order. */
  outbox(): Promise<T.OutboxItem[]> {
    return this.after(async () => structuredClone(this.sender.outbox.list()));
  }

  history(query: T.HistoryQuery = {}): Promise<T.HistoryPage> {
    if (this.connection.link.welcomed || !this.tabs || this.tabs.leader) return this.pages.ask(query);
    return this.pages.wait((ref) => this.post({ t: "ask", ref, query }));
  }

  /** Cuts the connection as a bad network would. The client comes back by itself. */
  drop(): void {
    if (this.leader) this.connection.drop();
    else this.post({ t: "drop" });
  }

  private after<R>(work: () => Promise<R>): Promise<R> {
    const done = this.ready().then(work);
    done.catch(() => {}); // whoever does not look is no unhandled rejection
    return done;
  }

  private async open(): Promise<void> {
    const { storage, saved, info } = await openStorage(this.options.storage, this.scope, this.meta);
    this.core.storage = storage;
    this.load(saved);
    Object.assign(this.storage, info);
    const { navigator, BroadcastChannel } = globalThis as any;
    const { tabs = true, locks = navigator?.locks, channel } = this.options;
    if (tabs && storage.shared && locks && (channel ?? BroadcastChannel)) {
      const name = `inboxd:${this.scope}`;
      const shared = channel ? channel(name) : new BroadcastChannel(name);
      this.tabs = new Tabs(name, locks, shared, () => void this.lead(), (post) => this.heard(post));
    }
    this.emitter.emit("storage", info);
  }

  private load({ meta, marks, outbox }: Saved): void {
    this.meta = { ...meta, attempt: Math.max(meta.attempt, this.meta.attempt) };
    this.receiver.inbox.load(marks);
    for (const item of outbox.sort((a, b) => a.order - b.order)) this.sender.outbox.merge(item, false);
  }

  private begin(): void {
    if (!this.tabs || this.tabs.leader) return this.connection.connect();
    if (this.current === "closed" || this.current === "idle") this.become({ state: "connecting", previous: this.current });
    this.tabs.join();
    this.post({ t: "who" });
    this.post({ t: "connect" });
  }

  /** The lock is ours: what the leader before us left is in storage. */
  private async lead(): Promise<void> {
    try {
      this.load(await this.core.storage.open(this.scope, this.meta));
    } catch (error) {
      report(this.core, "storage_failed", error);
    }
    if (!this.tabs!.leader || !this.wanted) return;
    this.emitter.emit("leader", { leader: true });
    this.connection.connect();
  }

  private visible(): void {
    this.connection.visible();
    if (!this.leader) this.post({ t: "visible" });
  }

  private async hello(): Promise<Record<string, unknown>> {
    const attempt = ++this.meta.attempt;
    await this.core.storage.write({ meta: { attempt } }).catch((error) => report(this.core, "storage_failed", error));
    const { window } = this.options;
    return { device: this.meta.device, cursor: this.receiver.inbox.cursor, attempt, window };
  }

  private welcome(frame: T.Welcome, gen: number): void {
    const { stats, storage } = this.core;
    stats.connections++;
    stats.lastPending = frame.pending;
    if (this.meta.user !== frame.user) {
      this.meta.user = frame.user;
      storage.write({ meta: { user: frame.user } }).catch((error) => report(this.core, "storage_failed", error));
    }
    this.receiver.start(gen, frame.window);
    this.tell("welcome", frame);
    this.sender.start(frame.limits ?? {}, (text) => void this.connection.write(text));
  }

  private lost(): void {
    this.receiver.inbox.stop();
    this.sender.stop();
    this.pages.lost();
  }

  private frame(frame: T.Frame): void {
    const { type, id, ref, code, message } = frame;
    if (type === "accepted") this.sender.accepted(frame);
    else if (type === "history") this.pages.answer(frame);
    else if (type === "error" && ref !== undefined) this.pages.answer(frame);
    else if (type === "error" && id !== undefined) this.sender.refused(frame);
    else if (type === "error") this.tell("error", { code, message });
    else if (EVENTS.has(type)) this.tell(type as "signal", frame);
    else if (typeof frame["cursor"] === "string") this.receiver.push(frame as unknown as T.Entry);
  }

  private become(change: T.StateChange): void {
    const { state } = change;
    const previous = this.current;
    if (state === previous && state !== "reconnecting") return;
    this.current = state;
    this.retry_ = change.retryAt;
    this.failure_ = state === "failed" ? { code: change.code!, reason: change.reason! } : undefined;
    if (this.tabs?.leader && state !== "closed") this.introduce(change);
    this.emitter.emit("state", { ...change, previous });
    const error = new InboxError(state, change.reason, { failure: this.failure_ });
    if (state === "live") for (const goal of this.goals.splice(0)) goal.resolve();
    if (state === "failed" || state === "closed") for (const goal of this.goals.splice(0)) goal.reject(error);
  }

  private introduce(change: T.StateChange): void {
    this.post({ t: "state", change, user: this.meta.user, stats: this.core.stats });
  }

  private post(post: Post): void {
    try {
      this.tabs?.post(post);
    } catch (error) {
      report(this.core, "tabs_failed", error);
    }
  }

  /** An event of the connection: for every tab. */
  private tell<E extends keyof T.Events>(type: E, event: T.Events[E]): void {
    this.post({ t: "event", type, event });
    this.emitter.emit(type, event);
  }

  private changed(put: T.OutboxItem[], remove: string[]): void {
    if (put.length || remove.length) this.post({ t: "items", put, remove });
    this.emitter.emit("outbox", {});
  }

  private accepted({ id, acceptance }: Post & { t: "accepted" }, here = true): void {
    if (here) this.post({ t: "accepted", id, acceptance }); // before the item is deleted
    this.sender.resolve(id, acceptance);
    this.emitter.emit("accepted", { id, acceptance });
  }

  private failed({ id, code, message }: Post & { t: "failed" }, here = true): void {
    if (here) this.post({ t: "failed", id, code, message });
    this.sender.reject(id, new SendError(code, message, id));
    this.emitter.emit("failed", { id, code, message });
  }

  /** What another tab says. Answers and items count for everybody; the rest only as long as we are connected. */
  private heard(post: Post): void {
    const { leader } = this.tabs!;
    const { t } = post;
    if (t === "items") this.items(post.put, post.remove, leader);
    else if (t === "accepted") {
      this.sender.outbox.remove(post.id);
      this.accepted(post, false);
      this.emitter.emit("outbox", {});
    } else if (t === "failed") this.failed(post, false);
    else if (t === "page") this.pages.answer({ type: post.code ? "error" : "history", ...post, ...post.page });
    else if (leader) this.asked(post);
    else if (this.wanted) this.mirror(post);
  }

  private items(put: T.OutboxItem[], remove: string[], leader: boolean): void {
    for (const item of put) this.sender.outbox.merge(item, !leader);
    for (const id of remove) this.sender.gone(id);
    this.emitter.emit("outbox", {});
    void this.sender.pump();
  }

  /** A follower asks the leader. */
  private asked(post: Post): void {
    const { t } = post;
    if (t === "who") this.introduce({ state: this.current, previous: this.current, retryAt: this.retry_, ...this.failure_ });
    else if (t === "connect" && this.current === "failed") this.connection.connect();
    else if (t === "drop") this.connection.drop();
    else if (t === "visible") this.connection.visible();
    else if (t === "ask") {
      const { ref, query } = post;
      this.pages.ask(query).then(
        (page) => this.post({ t: "page", ref, page }),
        ({ code, message }) => this.post({ t: "page", ref, code, message }),
      );
    }
  }

  /** The leader tells its followers. */
  private mirror(post: Post): void {
    if (post.t === "state") {
      Object.assign(this.core.stats, post.stats);
      if (post.user) this.meta.user = post.user;
      if (post.change.state === "connecting") this.pages.lost();
      this.become(post.change);
    } else if (post.t === "event") this.emitter.emit(post.type as "live", post.event);
    else if (post.t === "entry") {
      Object.assign(this.core.stats, post.stats);
      void this.show(post.entry);
    }
  }

  /** Best effort: what fails here is not tried again, the leader has it. */
  private async show(entry: T.Entry): Promise<void> {
    for (const handler of this.emitter.of(ENTRIES.has(entry.type) ? entry.type : "entry")) {
      try {
        await handler(entry);
      } catch (error) {
        if (error !== LEFT) report(this.core, "handler_failed", error);
      }
    }
  }
}
