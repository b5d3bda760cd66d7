import type { Connection } from "./connection.mjs";
import { type Core, report } from "./core.mjs";
import { SendError } from "./errors.mjs";
import type { History } from "./history.mjs";
import { LEFT } from "./receiver.mjs";
import type { Sender } from "./sender.mjs";
import type { Status } from "./status.mjs";
import type { Post, Tabs } from "./tabs.mjs";
import type { Entry, Frame, HistoryPage, HistoryQuery, StateChange } from "./types.mjs";

/** What tabs tell one another, and what it means here. Without tabs: only what the application is told. */
export class Peers {
  readonly #core: Core;
  readonly #status: Status;
  readonly #sender: Sender;
  readonly #pages: History;
  readonly #connection: Connection;
  tabs?: Tabs;
  /** Users whose presence this tab's application wants to know. */
  readonly watched = new Set<string>();

  constructor(core: Core, status: Status, sender: Sender, pages: History, connection: Connection) {
    this.#core = core;
    this.#status = status;
    this.#sender = sender;
    this.#pages = pages;
    this.#connection = connection;
  }

  /** Another tab has, or may have, the connection. */
  get follower(): boolean {
    return this.tabs?.leader === false;
  }

  /** To every tab, this one included. */
  tell(post: Post): void {
    this.post(post);
    if (post.t === "entry") this.#sender.reads.settle(post.entry);
    else this.#take(post);
  }

  post(post: Post): void {
    try {
      this.tabs?.post(post);
    } catch (error) {
      report(this.#core, "tabs_failed", error);
    }
  }

  become(change: StateChange): void {
    if (this.#status.become(change) && change.state !== "closed") this.#introduce(change);
  }

  /** For the moment: a frame that is not kept. */
  say(frame: Frame): void {
    this.post({ t: "say", frame });
    if (!this.follower) this.#connection.write(frame);
  }

  /** `of`: those that may have been forgotten; absent: all. */
  watch(of?: string[]): void {
    const users = [...this.watched].filter((user) => !of || of.includes(user));
    if (users.length) this.say({ type: "watch", users });
  }

  ask(query: HistoryQuery): Promise<HistoryPage> {
    if (!this.follower || !this.#status.wanted) return this.#pages.ask(query);
    return this.#pages.wait((ref) => this.post({ t: "ask", ref, query }));
  }

  /** What another tab says. Answers and items count for everybody; the rest only as long as we are connected. */
  heard(post: Post): void {
    const { t } = post;
    if (t === "items") {
      for (const item of post.put) this.#sender.merge(item, this.follower);
      for (const id of post.remove) {
        this.#sender.gone(id);
        if (!this.follower) this.#sender.writer.remove(id).catch(() => {}); // we may have stored it after that tab
      }
      void this.#sender.pump();
    }
    if (t === "accepted") this.#sender.outbox.remove(post.id);
    if (t === "say" && post.frame.type === "unwatch") queueMicrotask(() => this.watch(post.frame["users"])); // we still want to know
    if (t === "page") this.#pages.answer(post);
    else if (t === "items" || t === "accepted" || t === "failed") this.#take(post);
    else if (!this.follower) this.#asked(post);
    else if (this.#status.wanted) this.#take(post);
  }

  /** A follower asks the leader. */
  #asked(post: Post): void {
    const { t } = post;
    const { state, retryAt, failure } = this.#status;
    if (t === "who") this.#introduce({ state, previous: state, retryAt, ...failure });
    else if (t === "connect" && state === "failed") this.#connection.when((link, now) => link.connect(now));
    else if (t === "say") this.#connection.write(post.frame);
    else if (t === "drop") this.#connection.when((link, now) => link.cut(now));
    else if (t === "visible") this.#connection.when((link, now) => link.visible(now));
    else if (t === "ask") {
      const { ref } = post;
      this.#pages.ask(post.query).then(
        (page) => this.post({ t: "page", ref, ...page }),
        ({ code, message }) => this.post({ t: "page", ref, code, message }),
      );
    }
  }

  #introduce(change: StateChange): void {
    if (!this.follower) this.post({ t: "state", change, stats: this.#core.stats });
  }

  #take(post: Post): void {
    const { emitter, stats } = this.#core;
    if (post.t === "accepted") {
      this.#sender.resolve(post.id, post.acceptance);
      emitter.emit("accepted", { id: post.id, acceptance: post.acceptance });
    } else if (post.t === "failed") {
      const { id, code, message } = post;
      this.#sender.reject(id, new SendError(code, message, id));
      emitter.emit("failed", { id, code, message });
    } else if (post.t === "event") emitter.emit(post.type as "live", post.event);
    else if (post.t === "state" || post.t === "entry") {
      Object.assign(stats, post.stats);
      if (post.t === "entry") {
        this.#sender.reads.settle(post.entry);
        return void this.#show(post.entry);
      }
      if (post.change.state === "connecting") this.#pages.lost();
      this.#status.become(post.change);
    }
    if (post.t === "items" || post.t === "accepted") emitter.emit("outbox", {});
  }

  /** Best effort: what fails here is not tried again, the leader has it. */
  async #show(entry: Entry): Promise<void> {
    for (const handler of this.#core.emitter.takers(entry.type)) {
      try {
        await handler(entry);
      } catch (error) {
        if (error !== LEFT) report(this.#core, "handler_failed", error);
      }
    }
  }
}
