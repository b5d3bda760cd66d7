import { before, identityOf } from "./pure.mjs";
import type { Mark } from "./storage/storage.mjs";
import type { Entry } from "./types.mjs";

/** One entry on its way through: repeat or not, of which connection. */
export interface Step {
  entry: Entry;
  identity?: string;
  repeat: boolean;
  gen: number;
}

/**
 * Order, repeats and acks of what is received: fed with entries, asked for the next step. No I/O, no clock.
 * A step is taken, handled, marked (stored) and then acked, if it came over the connection that is open.
 */
export class Inbox {
  readonly #most: number;
  cursor?: string;
  #seen = new Map<string, string>(); // identity → cursor
  #queue: Step[] = [];
  #t = 0;
  #slot = 0;
  #gen = 0;
  #window = 256;
  #unacked = 0;
  #ackable?: string;

  constructor(most = 10_000) {
    this.#most = most;
  }

  /** What storage has; what this object knows already stays known. */
  load(marks: Mark[]): void {
    marks = [...marks].sort((a, b) => a.t - b.t);
    for (const { t, slot, cursor, identity } of marks) {
      if (t >= this.#t) [this.#t, this.cursor] = [t, cursor];
      if (!identity) continue;
      this.#remember(identity, cursor);
      this.#slot = slot + 1;
    }
  }

  /** A connection begins: what waited of the one before comes again. */
  start(gen: number, window: number): void {
    this.stop();
    this.#gen = gen;
    this.#window = window;
  }

  stop(): void {
    this.#queue = [];
    this.#gen = -1;
    this.#unacked = 0;
    this.#ackable = undefined;
  }

  push(entry: Entry): void {
    this.#queue.push({ entry, identity: identityOf(entry), repeat: false, gen: this.#gen });
  }

  /** Where this was handled, if it is among the newest. */
  at(identity: string): string | undefined {
    return this.#seen.get(identity);
  }

  /** Of what was handled, the newest last. */
  get identities(): string[] {
    return [...this.#seen.keys()];
  }

  take(): Step | undefined {
    const step = this.#queue.shift();
    if (step) step.repeat = step.identity !== undefined && this.#seen.has(step.identity);
    return step;
  }

  /**
   * The handler has finished: the record to store. From here on it is a repeat, even if storing fails.
   * Only lost history moves the cursor back; a late repeat does not.
   */
  mark({ entry, identity }: Step): Mark {
    const late = this.cursor && entry["reason"] !== "rewound" && before(entry.cursor, this.cursor);
    const mark: Mark = { slot: -1, t: ++this.#t, cursor: late ? this.cursor! : entry.cursor };
    if (identity) {
      this.#remember(identity, entry.cursor);
      Object.assign(mark, { slot: this.#slot++ % this.#most, identity });
    }
    return mark;
  }

  /** The record is stored: the cursor stands there, and the entry may be acked. */
  stored({ gen }: Step, { cursor }: Mark): void {
    this.cursor = cursor;
    if (gen !== this.#gen) return;
    this.#unacked++;
    this.#ackable = cursor;
  }

  /** Whether an ack is due: `later` may wait for company. */
  get owed(): "now" | "later" | undefined {
    if (this.#ackable === undefined) return undefined;
    return this.#unacked * 4 >= this.#window ? "now" : "later";
  }

  /** The cursor to ack, once. */
  ack(): string | undefined {
    const cursor = this.#ackable;
    this.#ackable = undefined;
    this.#unacked = 0;
    return cursor;
  }

  #remember(identity: string, cursor: string): void {
    this.#seen.delete(identity); // the newest is last
    this.#seen.set(identity, cursor);
    if (this.#seen.size > this.#most) this.#seen.delete(this.#seen.keys().next().value!);
  }
}
