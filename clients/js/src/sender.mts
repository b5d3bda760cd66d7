import { Alarm } from "./clock.mjs";
import { type Core, report } from "./core.mjs";
import { InboxError, SendError } from "./errors.mjs";
import { frameOf, Outbox } from "./outbox.mjs";
import { same, textOf, uuidv7 } from "./pure.mjs";
import type { Acceptance, Frame, Limits, OutboxItem, SendOptions } from "./types.mjs";
import { Writer } from "./writer.mjs";

const ID = /^[\w.\-@:+]{1,64}$/;

interface Waiting {
  promise: Promise<Acceptance>;
  resolve(acceptance: Acceptance): void;
  reject(error: SendError): void;
}

export interface SenderHooks {
  /** The outbox changed here: tell the application and the other tabs. */
  changed(put: OutboxItem[], remove: string[]): void;
  accepted(id: string, acceptance: Acceptance): void;
  failed(id: string, code: string, message: string): void;
  stale(id: string): void;
}

/** Stores what is to be sent, sends it in order while `write` is there, and settles the promises. */
export class Sender {
  readonly outbox: Outbox;
  readonly writer: Writer;
  private write?: (text: string) => void;
  private waiting = new Map<string, Waiting>();
  private adding = new Map<string, { item: OutboxItem; stored: Promise<void> }>();
  private readonly alarm: Alarm;
  private pumping = false;
  private again = false;

  constructor(
    private readonly core: Core,
    private readonly most: number,
    private readonly hooks: SenderHooks,
  ) {
    const { backoffFirst, backoffMost } = core.timing;
    this.outbox = new Outbox(backoffFirst, backoffMost, core.random);
    this.writer = new Writer(core);
    this.alarm = new Alarm(core.clock, () => void this.pump());
  }

  /** After `welcome`. */
  start(limits: Limits, write: (text: string) => void): void {
    this.outbox.start(limits);
    this.write = write;
    void this.pump();
  }

  stop(): void {
    this.write = undefined;
    this.outbox.stop();
    this.alarm.at(Infinity);
  }

  async send(to: string | string[], body: unknown, { id, expiresIn }: SendOptions): Promise<Acceptance> {
    const item = this.make(to, body, id ?? uuidv7(this.core.clock.wall(), this.core.random), expiresIn);
    const known = this.adding.get(item.id)?.item ?? this.outbox.get(item.id);
    if (known) return this.join(known, item);
    if (this.outbox.size + this.adding.size >= this.most) {
      throw new SendError("outbox_full", `${this.most} messages wait already`, item.id);
    }
    const { promise } = this.wait(item.id);
    const stored = this.writer.put([item]);
    this.adding.set(item.id, { item, stored });
    try {
      await stored;
    } catch (error) {
      this.reject(item.id, new SendError("storage_failed", textOf(error), item.id, error));
      return promise;
    } finally {
      this.adding.delete(item.id);
    }
    this.outbox.put(item);
    this.hooks.changed([item], []);
    void this.pump();
    return promise;
  }

  /** Sends a `failed` or `stale` item again. */
  async retry(id: string): Promise<Acceptance> {
    const item = this.outbox.get(id);
    if (!item) throw new SendError("not_found", "no such message in the outbox", id);
    if (item.state === "failed" || item.state === "stale") {
      const { error: _, ...rest } = item;
      const fresh: OutboxItem = { ...rest, state: "queued", triedAt: null };
      await this.store([fresh]);
      if (this.outbox.get(id) !== item) throw new SendError("discarded", "discarded", id);
      this.outbox.put(fresh);
      this.hooks.changed([fresh], []);
      void this.pump();
    }
    return this.wait(id).promise;
  }

  /** Gives a message up. If it was tried it may be in all the same. */
  async discard(id: string): Promise<void> {
    await this.adding.get(id)?.stored.catch(() => {});
    const item = this.outbox.get(id);
    if (!item) throw new SendError("not_found", "no such message in the outbox", id);
    await this.writer.remove(id).catch((error) => {
      throw new InboxError("storage_failed", textOf(error), { cause: error });
    });
    this.gone(id);
    this.hooks.changed([], [id]);
  }

  /** Discarded here, or in another tab. */
  gone(id: string): void {
    this.outbox.remove(id);
    if (this.outbox.given(id)) this.write?.(JSON.stringify({ type: "skip", id }));
    this.reject(id, new SendError("discarded", "discarded", id));
    void this.pump();
  }

  accepted({ type: _, ...acceptance }: Frame): void {
    const { id } = acceptance as Acceptance;
    if (this.outbox.accepted(id)) {
      this.core.stats.sent++;
      this.hooks.accepted(id, acceptance as Acceptance);
      this.writer.remove(id).catch((error) => report(this.core, "storage_failed", error));
      this.hooks.changed([], []);
    }
    void this.pump();
  }

  refused({ id, code, message, retryable, retry_after }: Frame): void {
    const verdict = this.outbox.refused(id, code, message, retryable === true, this.core.clock.now(), retry_after);
    if (verdict === "skip") this.write?.(JSON.stringify({ type: "skip", id }));
    if (verdict === "failed") this.fail([this.outbox.get(id)!]);
    if (verdict === "again") this.hooks.changed([this.outbox.get(id)!], []);
    void this.pump();
  }

  resolve(id: string, acceptance: Acceptance): void {
    this.waiting.get(id)?.resolve(acceptance);
    this.waiting.delete(id);
  }

  reject(id: string, error: SendError): void {
    this.waiting.get(id)?.reject(error);
    this.waiting.delete(id);
  }

  /** Sends whatever may be sent; one turn at a time. */
  async pump(): Promise<void> {
    this.again = true;
    if (this.pumping) return;
    this.pumping = true;
    while (this.again) {
      this.again = false;
      await this.turn();
    }
    this.pumping = false;
    this.alarm.at(this.outbox.due);
  }

  private async turn(): Promise<void> {
    const { write } = this;
    const { clock } = this.core;
    const { send, first, failed, stale } = this.outbox.turn(clock.now(), clock.wall());
    this.fail(failed);
    if (stale.length) {
      this.keep(stale);
      for (const { id } of stale) this.hooks.stale(id);
    }
    if (!write || !send.length) return;
    const { pauses } = this.outbox;
    if (first.length && !(await this.begin(first))) return;
    if (write !== this.write || pauses !== this.outbox.pauses) {
      this.again = true;
      return;
    }
    const sent = send.filter((item) => item.state === "queued" && this.outbox.get(item.id) === item);
    for (const item of sent) {
      write(frameOf(item, clock.wall()));
      this.outbox.sent(item, clock.wall());
    }
    this.hooks.changed(sent, []);
  }

  /** Stores that these are tried now: from here on nobody knows whether the service has them. */
  private async begin(items: OutboxItem[]): Promise<boolean> {
    const triedAt = this.core.clock.wall();
    try {
      await this.writer.put(items.map((item) => ({ ...item, triedAt })));
    } catch (error) {
      report(this.core, "storage_failed", error);
      this.outbox.pause(this.core.clock.now());
      return false;
    }
    for (const item of items) item.triedAt = triedAt;
    return true;
  }

  private fail(items: OutboxItem[]): void {
    if (items.length) this.keep(items);
    for (const { id, error } of items) this.hooks.failed(id, error!.code, error!.message);
  }

  /** Stores a new state of items that stay. */
  private keep(items: OutboxItem[]): void {
    this.writer.put(items).catch((error) => report(this.core, "storage_failed", error));
    this.hooks.changed(items, []);
  }

  private async store(items: OutboxItem[]): Promise<void> {
    try {
      await this.writer.put(items);
    } catch (error) {
      throw new SendError("storage_failed", textOf(error), items[0]!.id, error);
    }
  }

  private make(to: string | string[], body: unknown, id: string, expiresIn?: number): OutboxItem {
    const refuse = (why: string): never => {
      throw new SendError("invalid_field", why, id);
    };
    if (!ID.test(id)) refuse("id: 1 to 64 characters of A-Z a-z 0-9 . _ - @ : +");
    let text: string | undefined;
    try {
      text = JSON.stringify(body);
    } catch (error) {
      refuse(`body: ${textOf(error)}`);
    }
    if (text === undefined) refuse("body: is no JSON");
    const { clock } = this.core;
    const wall = clock.wall();
    const item: OutboxItem = { id, to, body: JSON.parse(text!), order: this.outbox.order(wall), createdAt: wall } as OutboxItem;
    if (expiresIn !== undefined) item.expiresIn = expiresIn;
    item.state = "queued";
    item.triedAt = this.outbox.ready(clock.now(), this.adding.size) ? wall : null; // one write instead of two
    return item;
  }

  private join(known: OutboxItem, { id, to, body, expiresIn }: OutboxItem): Promise<Acceptance> {
    const equal = same([known.to, known.body, known.expiresIn ?? 0], [to, body, expiresIn ?? 0]);
    if (!equal) throw new SendError("id_reused", "this id waits with another content", id);
    if (known.error) throw new SendError(known.error.code, known.error.message, id);
    return this.wait(id).promise;
  }

  private wait(id: string): Waiting {
    const known = this.waiting.get(id);
    if (known) return known;
    const waiting = {} as Waiting;
    waiting.promise = new Promise((resolve, reject) => Object.assign(waiting, { resolve, reject }));
    waiting.promise.catch(() => {}); // whoever does not look is no unhandled rejection
    this.waiting.set(id, waiting);
    return waiting;
  }
}
