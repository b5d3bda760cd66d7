import type { Emitter } from "./emitter.mjs";
import { LEFT } from "./receiver.mjs";
import type { Message } from "./types.mjs";

interface Offer {
  message: Message;
  finish(): void;
  leave(): void;
}

const DONE: IteratorResult<Message> = { done: true, value: undefined };

/** Messages one after the other. One counts as handled when the next is asked for, and not when the loop is left. */
export class Messages implements AsyncIterableIterator<Message> {
  readonly #emitter: Emitter;
  #offers: Offer[] = [];
  #current?: Offer;
  #asked: ((result: IteratorResult<Message>) => void)[] = [];
  #off?: () => void;
  #ended = false;

  constructor(emitter: Emitter) {
    this.#emitter = emitter;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Message>> {
    this.#current?.finish();
    this.#current = undefined;
    if (this.#ended) return Promise.resolve(DONE);
    return new Promise((resolve) => {
      this.#asked.push(resolve);
      this.#off ??= this.#emitter.on("message", (message) => this.#take(message));
      this.#give();
    });
  }

  return(): Promise<IteratorResult<Message>> {
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

  #take(message: Message): Promise<void> {
    return new Promise((finish, reject) => {
      this.#offers.push({ message, finish, leave: () => reject(LEFT) });
      this.#give();
    });
  }

  #give(): void {
    if (!this.#asked.length || !this.#offers.length) return;
    this.#current = this.#offers.shift()!;
    this.#asked.shift()!({ done: false, value: this.#current.message });
  }
}
