import { Alarm } from "./clock.mjs";
import { type Core, report } from "./core.mjs";
import { SendError } from "./errors.mjs";
import type { Inbox } from "./inbox.mjs";
import { contentOf, frameOf, Outbox } from "./outbox.mjs";
import { canonical, textOf, uuidv7 } from "./pure.mjs";
import { Reads } from "./reads.mjs";
import type { Kept } from "./storage/storage.mjs";
import type { Acceptance, Entry, Frame, Limits, OutboxItem, SendOptions } from "./types.mjs";
import { Writer } from "./writer.mjs";

const ID = /^[\w.\-@:+]{1,64}$/;

interface Waiting {
  promise: Promise<Acceptance>;
  resolve(acceptance: Acceptance): void;
  reject(error: SendError): void;
}

/** Stores what is to be sent, sends it in order while `write` is there, and settles the promises. */
export class Sender {
  readonly #core: Core;
  readonly #most: number;
  readonly outbox: Outbox;
  readonly writer: Writer;
  readonly reads: Reads;
  #write?: (text: string) => void;
  #waiting = new Map<string, Waiting>();
  #adding = new Map<string, { item: OutboxItem; stored: Promise<void> }>();
  readonly #alarm: Alarm;
  #pumping = false;
  #again = false;

  constructor(core: Core, most: number, inbox: Inbox) {
    this.#core = core;
    this.#most = most;
    const { backoffFirst, backoffMost } = core.timing;
    this.outbox = new Outbox(backoffFirst, backoffMost, core.random);
    this.writer = new Writer(core);
    this.reads = new Reads(core, this.writer, inbox);
    this.#alarm = new Alarm(core.clock, () => void this.pump());
  }

  /** After `welcome`. */
  start(limits: Limits, write: (text: string) => void): void {
    this.outbox.start(limits);
    this.#write = write;
    this.reads.start(write);
    void this.pump();
  }

  stop(): void {
    this.#write = undefined;
    this.outbox.stop();
    this.reads.write = undefined;
    this.#alarm.at(Infinity);
  }

  /** What storage or another tab has; see `Outbox.merge`. */
  merge(item: Kept, mirror: boolean): void {
    if (item.type === "read") this.reads.merge(item);
    else this.outbox.merge(item, mirror);
  }

  async send(content: Partial<OutboxItem>, { id, expiresIn, receipts }: SendOptions): Promise<Acceptance> {
    id ??= uuidv7(this.#core.clock.wall(), this.#core.random);
    const item = this.#make({ ...content, id, expiresIn, receipts }, id);
    const known = this.#adding.get(item.id)?.item ?? this.outbox.get(item.id);
    if (known) return this.#join(known, item);
    if (this.outbox.size + this.#adding.size >= this.#most) {
      throw new SendError("outbox_full", "outbox_full", item.id);
    }
    const { promise } = this.#wait(item.id);
    const stored = this.#stored(this.writer.put([item]), item.id);
    this.#adding.set(item.id, { item, stored });
    try {
      await stored;
    } catch (error) {
      this.writer.remove(item.id).catch(() => {}); // of several some may be stored
      this.reject(item.id, error as SendError);
      return promise;
    } finally {
      this.#adding.delete(item.id);
    }
    this.outbox.put(item);
    this.#changed([item]);
    void this.pump();
    return promise;
  }

  /** Sends a `failed` or `stale` item again. */
  async retry(id: string): Promise<Acceptance> {
    const item = this.outbox.get(id);
    if (!item) throw new SendError("not_found", "not in the outbox", id);
    if (item.state === "failed" || item.state === "stale") {
      const { error: _, ...rest } = item;
      const fresh: OutboxItem = { ...rest, state: "queued", triedAt: null };
      await this.#stored(this.writer.put([fresh]), id);
      const now = this.outbox.get(id);
      if (!now) throw new SendError("discarded", "discarded", id);
      if (now === item) this.outbox.put(fresh); // else somebody asked twice
      this.#changed([fresh]);
      void this.pump();
    }
    return this.#wait(id).promise;
  }

  /** Gives a message up. If it was tried it may be in all the same. */
  async discard(id: string): Promise<void> {
    await this.#adding.get(id)?.stored.catch(() => {});
    const item = this.outbox.remove(id); // first here: no answer may store it anew
    if (!item) throw new SendError("not_found", "not in the outbox", id);
    try {
      await this.#stored(this.writer.remove(id), id);
    } catch (error) {
      this.outbox.put(item);
      throw error;
    }
    this.gone(id);
    this.#changed([], [id]);
  }

  /** Discarded here, or in another tab. */
  gone(id: string): void {
    this.outbox.remove(id);
    if (this.outbox.given(id)) this.#write?.(JSON.stringify({ type: "skip", id }));
    this.reject(id, new SendError("discarded", "discarded", id));
    void this.pump();
  }

  accepted({ type: _, ...acceptance }: Frame): void {
    const { id } = acceptance as Acceptance;
    if (this.outbox.accepted(id)) {
      this.#core.stats.sent++;
      this.#core.tell({ t: "accepted", id, acceptance: acceptance as Acceptance });
      this.writer.remove(id).catch((error) => report(this.#core, "storage_failed", error));
    }
    void this.pump();
  }

  /** The own copy of a message came in: it was accepted, whatever became of the answer. Who got it is not known. */
  proven({ id, ts, type }: Entry): void {
    const item = id && this.outbox.get(id);
    if (item && item.state === "stale" && (item.type ?? "message") === type) this.accepted({ type, id, ts, duplicate: true, recipients: [] });
  }

  refused({ id, code, message, retryable, retry_after }: Frame): void {
    const verdict = this.outbox.refused(id, code, message, retryable === true, this.#core.clock.now(), retry_after);
    if (verdict === "skip") this.#write?.(JSON.stringify({ type: "skip", id }));
    if (verdict === "failed") void this.#keep([this.outbox.get(id)!]);
    if (verdict === "again") this.#changed([this.outbox.get(id)!]);
    void this.pump();
  }

  resolve(id: string, acceptance: Acceptance): void {
    this.#waiting.get(id)?.resolve(acceptance);
    this.#waiting.delete(id);
  }

  reject(id: string, error: SendError): void {
    this.#waiting.get(id)?.reject(error);
    this.#waiting.delete(id);
  }

  /** Sends whatever may be sent; one turn at a time. */
  async pump(): Promise<void> {
    this.#again = true;
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#again) {
      this.#again = false;
      await this.#turn();
    }
    this.#pumping = false;
    this.#alarm.at(this.outbox.due);
  }

  async #turn(): Promise<void> {
    const write = this.#write;
    const { clock } = this.#core;
    const { send, failed, stale } = this.outbox.turn(clock.now(), clock.wall());
    void this.#keep([...failed, ...stale]);
    if (!write || !send.length) return;
    const { pauses } = this.outbox;
    const first = send.filter(({ triedAt }) => triedAt === null);
    if (first.length && !(await this.#begin(first))) return;
    if (write !== this.#write || pauses !== this.outbox.pauses) {
      this.#again = true;
      return;
    }
    const sent = send.filter((item) => item.state === "queued" && this.outbox.get(item.id) === item);
    for (const item of sent) {
      write(frameOf(item, clock.wall()));
      this.outbox.sent(item, clock.wall());
    }
    this.#changed(sent);
  }

  /** Stores that these are tried now: from here on nobody knows whether the service has them. */
  async #begin(items: OutboxItem[]): Promise<boolean> {
    const triedAt = this.#core.clock.wall();
    try {
      await this.writer.put(items.map((item) => ({ ...item, triedAt })));
    } catch (error) {
      report(this.#core, "storage_failed", error);
      this.outbox.pause(this.#core.clock.now());
      return false;
    }
    for (const item of items) item.triedAt = triedAt;
    return true;
  }

  /** Stores what became of items that stay, then tells it: what somebody was told outlives a crash. */
  async #keep(items: OutboxItem[]): Promise<void> {
    if (!items.length) return;
    await this.writer.put(items).catch((error) => report(this.#core, "storage_failed", error));
    items = items.filter((item) => this.outbox.get(item.id) === item); // the rest is settled by now
    this.#changed(items);
    for (const { id, error } of items) {
      this.#core.tell(error ? { t: "failed", id, ...error } : { t: "event", type: "stale", event: { id } });
    }
  }

  #changed(put: OutboxItem[], remove: string[] = []): void {
    this.#core.tell({ t: "items", put, remove });
  }

  async #stored(writing: Promise<void>, id: string): Promise<void> {
    try {
      await writing;
    } catch (error) {
      throw new SendError("storage_failed", textOf(error), id, error);
    }
  }

  #make(content: Partial<OutboxItem>, id: string): OutboxItem {
    const refuse = (why: string): never => {
      throw new SendError("invalid_field", why, id);
    };
    if (!ID.test(id)) refuse("id");
    let copy: any;
    try {
      copy = JSON.parse(JSON.stringify(content));
    } catch (error) {
      refuse(textOf(error));
    }
    const { type, target_from: author } = content;
    if (!(copy.to ?? copy.group) || (type && !copy.target)) refuse("to, group, or what message");
    if (type !== "delete" && copy.body === undefined) refuse("body");
    if (type !== "react" && author) throw new SendError("forbidden", "only the author changes a message", id);
    const wall = this.#core.clock.wall();
    const triedAt = this.outbox.ready(this.#adding.size) ? wall : null; // one write instead of two
    return { ...copy, order: this.outbox.order(wall), createdAt: wall, state: "queued", triedAt };
  }

  #join(known: OutboxItem, item: OutboxItem): Promise<Acceptance> {
    const { id } = item;
    if (canonical(contentOf(known)) !== canonical(contentOf(item)))
      throw new SendError("id_reused", "waits with another content", id);
    if (known.error) throw new SendError(known.error.code, known.error.message, id);
    return this.#wait(id).promise;
  }

  #wait(id: string): Waiting {
    const known = this.#waiting.get(id);
    if (known) return known;
    const waiting = {} as Waiting;
    waiting.promise = new Promise((resolve, reject) => Object.assign(waiting, { resolve, reject }));
    waiting.promise.catch(() => {}); // whoever does not look is no unhandled rejection
    this.#waiting.set(id, waiting);
    return waiting;
  }
}
