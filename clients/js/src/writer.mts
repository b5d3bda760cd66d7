import type { Core } from "./core.mjs";
import type { Kept } from "./storage/storage.mjs";

/** Writes the outbox: whatever was asked for while a write was under way goes into the next one, in order. */
export class Writer {
  readonly #core: Core;
  #next = new Map<string, Kept | undefined>();
  #waiting?: Promise<void>;
  #busy: Promise<unknown> = Promise.resolve();

  constructor(core: Core) {
    this.#core = core;
  }

  put(items: Kept[]): Promise<void> {
    return this.#change(items.map((item) => [item.id, { ...item }]));
  }

  remove(id: string): Promise<void> {
    return this.#change([[id, undefined]]);
  }

  /** Resolves when nothing is left to write. */
  async idle(): Promise<void> {
    await this.#busy;
  }

  #change(changes: [string, Kept | undefined][]): Promise<void> {
    for (const [id, item] of changes) {
      this.#next.delete(id);
      this.#next.set(id, item);
    }
    if (!this.#waiting) {
      this.#waiting = this.#busy.then(() => this.#write());
      this.#busy = this.#waiting.catch(() => {});
    }
    return this.#waiting;
  }

  #write(): Promise<void> {
    const changes = [...this.#next];
    this.#next = new Map();
    this.#waiting = undefined;
    const put = changes.flatMap(([, item]) => item ?? []);
    const remove = changes.flatMap(([id, item]) => (item ? [] : id));
    return this.#core.storage.write({ put, remove });
  }
}
