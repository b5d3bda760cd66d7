import type { OutboxItem } from "../types.mjs";
import type { Change, Mark, Meta, Saved, Storage } from "./storage.mjs";

/** Forgets everything with the page; also what the other storages keep in order to tell it again. */
export class MemoryStorage implements Storage {
  readonly kind: string = "memory";
  readonly durable: boolean = false;
  protected meta?: Meta;
  protected marks = new Map<number, Mark>();
  protected outbox = new Map<string, OutboxItem>();

  async open(_scope: string, fresh: Meta): Promise<Saved> {
    this.meta ??= fresh;
    return structuredClone({ meta: this.meta, marks: [...this.marks.values()], outbox: [...this.outbox.values()] });
  }

  async write(change: Change): Promise<void> {
    this.apply(structuredClone(change));
  }

  protected apply({ meta, mark, put = [], remove = [] }: Change): void {
    if (meta) this.meta = { ...this.meta!, ...meta };
    if (mark) this.marks.set(mark.slot, mark);
    for (const item of put) this.outbox.set(item.id, item);
    for (const id of remove) this.outbox.delete(id);
  }
}
