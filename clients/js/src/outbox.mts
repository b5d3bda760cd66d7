import { backoff, bytesOf } from "./pure.mjs";
import type { Limits, OutboxItem } from "./types.mjs";

const IN_FLIGHT = 64;
const DAY = 86_400; // s

/** What to do about the outbox: in this order. */
export interface Turn {
  /** To be sent now, in this order; that they are tried must be stored before. */
  send: OutboxItem[];
  /** Refused here, without asking the service. */
  failed: OutboxItem[];
  stale: OutboxItem[];
}

export type Verdict = "failed" | "again" | "skip" | undefined;

const inOrder = (a: OutboxItem, b: OutboxItem): number => a.order - b.order || (a.id < b.id ? -1 : 1);

/** What the application asked for. */
export function contentOf({ order, createdAt, triedAt, state, error, ...content }: OutboxItem): Partial<OutboxItem> {
  return content;
}

/** The frame that sends an item. */
export function frameOf(item: OutboxItem, wall: number): string {
  const { expiresIn, ...content } = contentOf(item);
  const left = expiresIn && Math.max(1, Math.ceil(expiresIn - Math.max(0, wall - item.createdAt) / 1000));
  return JSON.stringify({ type: "send", ...content, expires_in: left });
}

/**
 * Order, repeats and refusals of what is sent: fed with answers, asked for turns. No I/O, no clock.
 * The invariant that keeps the order: whatever is sent, everything before it was sent before it on this
 * connection, after the last refusal. So after a refusal nothing is sent until all that is on its way is answered.
 */
export class Outbox {
  readonly #first: number;
  readonly #most: number;
  readonly #random: () => number;
  /** When `turn` wants to be called again. */
  due = Infinity;
  #items = new Map<string, OutboxItem>(); // in order
  #last = 0; // the greatest order in it
  #minted = 0;
  #connected = false;
  #limits: Limits = {};
  /** Counts pauses: a turn that was begun before one is void. */
  pauses = 0;
  #failures = 0;
  #paused = false; // until everything on its way is answered, at least until `#resume`
  #resume = 0;
  #away = new Set<string>(); // sent on this connection and not answered; may hold discarded ones
  #unsure = new Set<string>(); // answered `unavailable` on this connection

  constructor(first: number, most: number, random: () => number) {
    this.#first = first;
    this.#most = most;
    this.#random = random;
  }

  get size(): number {
    return this.#items.size;
  }

  get(id: string): OutboxItem | undefined {
    return this.#items.get(id);
  }

  list(): OutboxItem[] {
    return [...this.#items.values()];
  }

  /** The order of the next item: time, but never less than the last. */
  order(wall: number): number {
    return (this.#minted = Math.max(wall, this.#last + 1, this.#minted + 1));
  }

  put(item: OutboxItem): void {
    if (!this.#connected && item.state === "sent") item.state = "queued";
    this.#set(item);
  }

  /** What another tab, or storage, has. What is on its way here stays so. */
  merge(item: OutboxItem, mirror: boolean): void {
    const known = this.#items.get(item.id);
    if (mirror || !known || known.state === "failed" || known.state === "stale") {
      this.#set(mirror || item.state !== "sent" ? item : { ...item, state: "queued" });
    }
  }

  remove(id: string): OutboxItem | undefined {
    const item = this.#items.get(id);
    this.#items.delete(id);
    return item;
  }

  /** After `welcome`: everything unanswered is sent again. */
  start(limits: Limits): void {
    this.stop();
    this.#connected = true;
    this.#limits = limits;
    this.#failures = 0;
  }

  stop(): void {
    this.#connected = false;
    this.due = Infinity;
    this.#paused = false;
    this.#away.clear();
    this.#unsure.clear();
    for (const item of this.#items.values()) if (item.state === "sent") item.state = "queued";
  }

  /** Whether one more would be sent at once; `others` are about to be put. */
  ready(others: number): boolean {
    return this.#connected && !this.#paused && this.#items.size + others < IN_FLIGHT;
  }

  turn(now: number, wall: number): Turn {
    const turn: Turn = { send: [], failed: [], stale: [] };
    this.due = Infinity;
    if (!this.#connected) return turn;
    if (this.#paused) {
      if (now < this.#resume) this.due = this.#resume;
      if (now < this.#resume || this.#away.size) return turn; // the last answer asks for the next turn
      this.#paused = false;
    }
    let room = IN_FLIGHT - this.#away.size;
    for (const item of this.#items.values()) {
      if (room <= 0) break;
      if (item.state === "queued" && this.#judge(item, wall, turn)) room--;
    }
    return turn;
  }

  /** The frame was written. */
  sent(item: OutboxItem, wall: number): void {
    item.state = "sent";
    this.#away.add(item.id);
    item.triedAt ??= wall;
  }

  accepted(id: string): OutboxItem | undefined {
    this.#failures = 0;
    this.#away.delete(id);
    this.#unsure.delete(id);
    return this.remove(id);
  }

  /** The answer was an error. `skip`: an item nobody wants any more holds up the others. */
  refused(id: string, code: string, message: string, again: boolean, now: number, retryAfter?: number): Verdict {
    const item = this.#items.get(id);
    this.#away.delete(id);
    if (code === "unavailable") {
      if (!item) return "skip";
      this.#unsure.add(id);
    }
    if (!item) return undefined;
    if (code === "unavailable" || code === "out_of_order" || (again && code !== "inbox_full")) {
      this.pause(now, retryAfter);
      if (item.state === "sent") item.state = "queued";
      return "again";
    }
    this.#fail(item, code, message);
    return "failed";
  }

  /** Nothing is sent for a while, and before all is answered. `retryAfter`: seconds. */
  pause(now: number, retryAfter?: number): void {
    if (this.#paused) return; // the refusals that follow the first are not worse than it
    const wait =
      retryAfter === undefined ? backoff(this.#failures, this.#first, this.#most, this.#random) : retryAfter * 1000;
    this.#failures++;
    this.pauses++;
    this.#paused = true;
    this.#resume = this.due = now + wait;
  }

  /** Whether the service must be told (`skip`) that a removed item will not come again. */
  given(id: string): boolean {
    return this.#unsure.delete(id);
  }

  #set(item: OutboxItem): void {
    const late = item.order < this.#last && this.#items.get(item.id)?.order !== item.order;
    this.#items.set(item.id, item);
    this.#last = Math.max(this.#last, item.order);
    if (late)
      this.#items = new Map(
        this.list()
          .sort(inOrder)
          .map((one) => [one.id, one]),
      );
  }

  #judge(item: OutboxItem, wall: number, turn: Turn): boolean {
    const { max_frame = Infinity, max_body = Infinity, dedupe_window = DAY } = this.#limits;
    const { triedAt, expiresIn, createdAt } = item;
    if (triedAt !== null && wall - triedAt > dedupe_window * 1000) {
      item.state = "stale";
      turn.stale.push(item);
    } else if (triedAt === null && expiresIn && wall - createdAt >= expiresIn * 1000) {
      turn.failed.push(this.#fail(item, "expired", "too late"));
    } else if (bytesOf(JSON.stringify(item.body)) > max_body || bytesOf(frameOf(item, wall)) > max_frame) {
      turn.failed.push(this.#fail(item, "too_large", "too large"));
    } else {
      turn.send.push(item);
      return true;
    }
    return false;
  }

  #fail(item: OutboxItem, code: string, message: string): OutboxItem {
    item.state = "failed";
    item.error = { code, message };
    return item;
  }
}
