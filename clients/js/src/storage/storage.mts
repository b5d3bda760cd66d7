import type { OutboxItem, ReadItem } from "../types.mjs";

/** A place in the inbox, and what was handled there: one record, so that no crash can split the two. */
export interface Mark {
  /** Where to put it; whatever was there is replaced. */
  slot: number;
  /** Grows with every mark: that with the greatest has the cursor. */
  t: number;
  cursor: string;
  identity?: string;
}

export interface Meta {
  device: string;
  /** The user the service named at the first `welcome`. */
  user?: string;
  attempt: number;
}

/** What waits for the service: sends, changes, and how far was read. By `id`. */
export type Kept = OutboxItem | ReadItem;

export interface Saved {
  meta: Meta;
  marks: Mark[];
  outbox: Kept[];
}

/** When `write` resolves it is as durable as the storage can make it; when it rejects, nobody knows. */
export interface Change {
  meta?: Partial<Meta>;
  mark?: Mark;
  put?: Kept[];
  remove?: string[];
}

/** Holds what one client must not lose. Writes are applied in the order they were asked for. */
export interface Storage {
  readonly kind: string;
  readonly durable: boolean;
  /** Whether other tabs of this browser see the same. */
  readonly shared?: boolean;
  /**
   * Everything that is stored under this name. Called again when another tab may have written.
   * `fresh` is stored, and counts, where there is no `meta` yet: in one step, so that two tabs agree on a device.
   */
  open(scope: string, fresh: Meta): Promise<Saved>;
  write(change: Change): Promise<void>;
}
