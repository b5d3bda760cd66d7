import type { Emitter } from "./emitter.mjs";
import { LEFT } from "./receiver.mjs";
import type { Entry } from "./types.mjs";

interface Offer {
  entry: any;
  finish(): void;
  leave(): void;
}

const DONE: IteratorResult<any> = { done: true, value: undefined };

/** Entries of a type one after the other. One counts as handled when the next is asked for, and not when the loop is left. */
export class Messages<E extends Entry> implements AsyncIterableIterator<E> {
  readonly #emitter: Emitter;
  readonly #type: string;
  #offers: Offer[] = [];
  #current?: Offer;
  #asked: ((result: IteratorResult<E>) => void)[] = [];
  #off?: () => void;
  #ended = false;

  constructor(emitter: Emitter, type: string) {
    this.#emitter = emitter;
    this.#type = type;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<E>> {
    this.#current?.finish();
    this.#current = undefined;
    if (this.#ended) return Promise.resolve(DONE);
    return new Promise((resolve) => {
      this.#asked.push(resolve);
      this.#off ??= this.#emitter.on(this.#type, (entry) => this.#take(entry));
      this.#give();
    });
  }

  return(): Promise<IteratorResult<E>> {
    this.#current?.leave();
    this.#current = undefined;
    this.end();
    return Promise.resolve(DONE);
  }

  /** No more come. The one that was given may still be finished, by asking for the next. */
  end(): void {
    this.#ended = true;
    this.#off?.();
    for (const offer of this.#offers.splice(0)) offer.leave();
    for (const resolve of this.#asked.splice(0)) resolve(DONE);
  }

  #take(entry: E): Promise<void> {
    return new Promise((finish, reject) => {
      this.#offers.push({ entry, finish, leave: () => reject(LEFT) });
      this.#give();
    });
  }

  #give(): void {
    if (!this.#asked.length || !this.#offers.length) return;
    this.#current = this.#offers.shift()!;
    this.#asked.shift()!({ done: false, value: this.#current.entry });
  }
}
