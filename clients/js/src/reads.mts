import { Alarm } from "./clock.mjs";
import { type Core, report } from "./core.mjs";
import { SendError } from "./errors.mjs";
import type { Inbox } from "./inbox.mjs";
import { backoff, before, identityOf, textOf } from "./pure.mjs";
import type { Entry, Frame, MessageRef, ReadItem } from "./types.mjs";
import type { Writer } from "./writer.mjs";

/** How far each conversation was read: stored, said, and said again on every connection until the inbox has it. */
export class Reads {
  readonly #core: Core;
  readonly #writer: Writer;
  readonly #inbox: Inbox;
  #items = new Map<string, ReadItem>();
  write?: (text: string) => void;
  #failures = 0;
  readonly #alarm: Alarm;

  constructor(core: Core, writer: Writer, inbox: Inbox) {
    this.#core = core;
    this.#writer = writer;
    this.#inbox = inbox;
    this.#alarm = new Alarm(core.clock, () => this.#say(...this.#items.values()));
  }

  /** After `welcome`. */
  start(write: (text: string) => void): void {
    this.write = write;
    this.#failures = 0;
    for (const item of this.#items.values()) this.merge(item);
  }

  /** Resolves when it is stored. */
  async read({ id, from, group, seq, cursor = "" }: MessageRef, user?: string): Promise<void> {
    if (!group && (!from || from === user)) return; // nobody reads to the end of what oneself wrote
    const item = { type: "read", order: 0, cursor, ...(group ? { group, upto: seq! } : { from, upto: id }) } as ReadItem;
    item.id = identityOf({ ...item, id: `read:${group ? `${group}:${seq}` : id}` })!;
    if (this.#items.has(item.id) || this.#confirmed(item)) return;
    try {
      await this.#writer.put([item]);
    } catch (error) {
      throw new SendError("storage_failed", textOf(error), id, error);
    }
    this.merge(item);
    this.#core.tell({ t: "items", put: [item], remove: [] });
  }

  /** The furthest of each conversation is kept; where nobody knows which that is, the later one. */
  merge(item: ReadItem): void {
    if (this.#confirmed(item)) return this.#drop(item);
    for (const other of this.#like(item)) {
      if (other.id === item.id) continue;
      if (this.#covers(other, item)) return this.#drop(item);
      this.#drop(other);
    }
    this.#items.set(item.id, item);
    this.#say(item);
  }

  /** An entry was handled: what it confirms is done. */
  settle(entry: Entry): void {
    if (entry.type !== "read") return;
    const read = { ...entry, cursor: "" } as unknown as ReadItem; // the entry's cursor is not the message's
    for (const item of this.#like(read)) if (this.#covers(read, item)) this.#drop(item);
  }

  /** The service could not store it, and it is said again; or (false) knows no such message. */
  refused(frame: Frame): boolean {
    const { clock, timing, random } = this.#core;
    const again = frame["retryable"] === true;
    if (again)
      this.#alarm.at(clock.now() + backoff(this.#failures++, timing.backoffFirst, timing.backoffMost, random));
    else for (const item of this.#like(frame)) if (item.upto === frame["upto"]) this.#drop(item);
    return again;
  }

  #like({ from, group }: Frame | ReadItem): ReadItem[] {
    return [...this.#items.values()].filter((item) => item.from === from && item.group === group);
  }

  /** The inbox has an entry that says as much, of this or another device. */
  #confirmed(item: ReadItem): boolean {
    const whose = item.id.slice(0, -`${item.upto}`.length);
    return this.#inbox.identities.some(
      (id) => id.startsWith(whose) && this.#covers({ ...item, upto: id.slice(whose.length), cursor: "" }, item),
    );
  }

  /** Whether who has read one has read the other; not where that is unknown. */
  #covers(one: ReadItem, other: ReadItem): boolean {
    if (one.upto === other.upto) return true;
    if (one.group) return one.upto >= other.upto;
    return before(this.#place(other), this.#place(one));
  }

  /** The message's cursor; unknown, it is before none and after none. */
  #place({ cursor, from, upto }: ReadItem): string {
    return cursor || this.#inbox.at(`message/${from}/${upto}`) || "?";
  }

  #say(...items: ReadItem[]): void {
    for (const { type, from, group, upto } of items) this.write?.(JSON.stringify({ type, from, group, upto }));
  }

  #drop({ id }: ReadItem): void {
    this.#items.delete(id);
    this.#writer.remove(id).catch((error) => report(this.#core, "storage_failed", error));
  }
}
