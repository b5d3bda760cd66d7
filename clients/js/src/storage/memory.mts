import type { Change, Kept, Mark, Meta, Saved, Storage } from "./storage.mjs";

/** Forgets everything with the page. */
export class MemoryStorage implements Storage {
  readonly kind = "memory";
  readonly durable = false;
  #meta?: Meta;
  #marks = new Map<number, Mark>();
  #outbox = new Map<string, Kept>();

  async open(_scope: string, fresh: Meta): Promise<Saved> {
    this.#meta ??= fresh;
    return structuredClone({ meta: this.#meta, marks: [...this.#marks.values()], outbox: [...this.#outbox.values()] });
  }

  async write(change: Change): Promise<void> {
    const { meta, mark, put = [], remove = [] } = structuredClone(change);
    if (meta) this.#meta = { ...this.#meta!, ...meta };
    if (mark) this.#marks.set(mark.slot, mark);
    for (const item of put) this.#outbox.set(item.id, item);
    for (const id of remove) this.#outbox.delete(id);
  }
}
