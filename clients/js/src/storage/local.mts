import type { Change, Meta, Saved, Storage } from "./storage.mjs";

/** The part of `localStorage` that is used. */
type Keys = Pick<globalThis.Storage, "length" | "key" | "getItem" | "setItem" | "removeItem">;

/**
 * `localStorage`: one key for each record, so that each write of a cursor with its identity is one `setItem`.
 * Small (about 5 MB), and browsers may write it to the disk late.
 */
export class LocalStorage implements Storage {
  readonly #keys: Keys;
  readonly kind = "localstorage";
  readonly durable = true;
  readonly shared = true;
  #prefix = "";

  constructor(keys: Keys = localStorage) {
    this.#keys = keys;
  }

  async open(scope: string, fresh: Meta): Promise<Saved> {
    this.#prefix = `inboxd:${encodeURIComponent(scope)}:`;
    const text = JSON.stringify(this.#read("meta") ?? fresh);
    this.#keys.setItem(this.#prefix + "meta", text); // fails here where it fails at all
    const saved: Saved = { meta: JSON.parse(text), marks: [], outbox: [] };
    for (let at = 0; at < this.#keys.length; at++) {
      const key = this.#keys.key(at)!;
      const [kind] = key.startsWith(this.#prefix) ? key.slice(this.#prefix.length).split(":", 1) : [];
      if (kind === "mark") saved.marks.push(this.#read(key.slice(this.#prefix.length)));
      if (kind === "item") saved.outbox.push(this.#read(key.slice(this.#prefix.length)));
    }
    return saved;
  }

  async write({ meta, mark, put = [], remove = [] }: Change): Promise<void> {
    if (meta) this.#set("meta", { ...this.#read("meta"), ...meta });
    if (mark) this.#set(`mark:${mark.slot}`, mark);
    for (const item of put) this.#set(`item:${item.id}`, item);
    for (const id of remove) this.#keys.removeItem(`${this.#prefix}item:${id}`);
  }

  #read(name: string): any {
    return JSON.parse(this.#keys.getItem(this.#prefix + name) ?? "null");
  }

  #set(name: string, value: unknown): void {
    this.#keys.setItem(this.#prefix + name, JSON.stringify(value));
  }
}
