import { Alarm } from "./clock.mjs";
import { type Core, report } from "./core.mjs";
import { Inbox, type Step } from "./inbox.mjs";
import { backoff, textOf } from "./pure.mjs";
import type { Mark } from "./storage/storage.mjs";
import type { Entry, Handler } from "./types.mjs";

/** Thrown by a handler that went away before it had finished: whoever listens next gets the entry. */
export const LEFT = new Error("left");

/** Takes entries through handler, storage and ack, strictly one after the other. */
export class Receiver {
  readonly #core: Core;
  readonly #ack: (cursor: string) => void;
  readonly inbox = new Inbox();
  #closed = false;
  #running?: Promise<void>;
  #wake = (): void => {};
  readonly #alarm: Alarm;
  readonly #ackAlarm: Alarm;
  #acking = false;

  constructor(core: Core, ack: (cursor: string) => void) {
    this.#core = core;
    this.#ack = ack;
    this.#alarm = new Alarm(core.clock, () => this.#wake());
    this.#ackAlarm = new Alarm(core.clock, () => this.flush());
  }

  /** Somebody listens, or there is other news: look again. */
  look(): void {
    this.#wake();
  }

  start(gen: number, window: number): void {
    this.#closed = false;
    this.inbox.start(gen, window);
  }

  push(entry: Entry): void {
    this.inbox.push(entry);
    this.#running ??= this.#run();
  }

  /** The handler that runs finishes, and what it did is stored; nothing else is begun. */
  close(): Promise<void> {
    this.flush();
    this.inbox.stop();
    this.#closed = true;
    this.#wake();
    return this.#running ?? Promise.resolve();
  }

  /** Sends the ack that waits for company. */
  flush(): void {
    this.#acking = false;
    this.#ackAlarm.at(Infinity);
    const cursor = this.inbox.ack();
    if (cursor !== undefined) this.#ack(cursor);
  }

  async #run(): Promise<void> {
    for (let step; (step = this.inbox.take());) await this.#through(step);
    this.#running = undefined; // here, not in a `finally`: an entry may come before that would run
  }

  async #through(step: Step): Promise<void> {
    const { stats } = this.#core;
    if (step.repeat) stats.repeats++;
    else if (!(await this.#hand(step.entry))) return;
    const mark = this.inbox.mark(step);
    if (!(await this.#store(mark))) return;
    this.inbox.stored(step, mark);
    if (!step.repeat) {
      if (step.entry.type === "gap") stats.gaps++;
      else stats.received++;
      this.#core.tell({ t: "entry", entry: step.entry, stats });
    }
    this.#ackSoon();
  }

  /** True when every handler has finished; a failure is tried again, for those that have not. */
  async #hand(entry: Entry): Promise<boolean> {
    const finished = new Set<Handler<any>>();
    let waits = entry.type === "message";
    for (let failures = 0; !this.#closed;) {
      const handlers = this.#core.emitter.takers(entry.type);
      if (!handlers.length && waits) {
        await this.#pause(Infinity); // nobody to take it
        continue;
      }
      try {
        for (const handler of handlers) {
          if (!finished.has(handler)) await handler(entry);
          finished.add(handler);
        }
        return true;
      } catch (error) {
        if (error === LEFT) {
          waits = true; // somebody had it, and did not finish
          continue;
        }
        this.#core.emitter.emit("error", { code: "handler_failed", message: textOf(error), error, entry });
        await this.#again(failures++);
      }
    }
    return false;
  }

  async #store(mark: Mark): Promise<boolean> {
    for (let failures = 0; ;) {
      try {
        await this.#core.storage.write({ mark });
        return true;
      } catch (error) {
        report(this.#core, "storage_failed", error);
      }
      if (this.#closed) return false;
      await this.#again(failures++);
    }
  }

  #again(failures: number): Promise<void> {
    const { timing, random } = this.#core;
    return this.#pause(backoff(failures, timing.backoffFirst, timing.backoffMost, random), true);
  }

  /** `whole`: only closing ends it before its time. */
  async #pause(ms: number, whole = false): Promise<void> {
    const until = this.#core.clock.now() + ms;
    do {
      this.#alarm.at(until);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    } while (whole && !this.#closed && this.#core.clock.now() < until);
    this.#alarm.at(Infinity);
  }

  #ackSoon(): void {
    const { owed } = this.inbox;
    if (owed === "now") return this.flush();
    if (!owed || this.#acking) return;
    this.#acking = true;
    this.#ackAlarm.at(this.#core.clock.now() + this.#core.timing.ackDelay);
  }
}
