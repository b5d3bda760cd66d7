import type { Channel, Locks } from "./options.mjs";
import type { Kept } from "./storage/storage.mjs";
import type { Acceptance, Entry, Frame, HistoryPage, HistoryQuery, StateChange, Stats } from "./types.mjs";

/** What tabs tell one another. Whoever is not the leader asks; the leader tells. */
export type Post =
  | { t: "who" | "connect" | "drop" | "visible" }
  | { t: "state"; change: StateChange; stats: Stats }
  | { t: "entry"; entry: Entry; stats: Stats }
  | { t: "event"; type: string; event: any }
  | { t: "items"; put: Kept[]; remove: string[] }
  | { t: "accepted"; id: string; acceptance: Acceptance }
  | { t: "failed"; id: string; code: string; message: string }
  | { t: "say"; frame: Frame } // what is not kept
  | { t: "ask"; ref: string; query: HistoryQuery }
  | ({ t: "page"; ref: string; code?: string; message?: string } & Partial<HistoryPage>);

/** Of all tabs with this name one leads: whoever holds the lock. The browser gives it on when that tab is gone. */
export class Tabs {
  readonly #name: string;
  readonly #locks: Locks;
  readonly #channel: Channel & { unref?(): void };
  readonly #lead: () => void;
  leader = false;
  #abort?: AbortController;
  #release = (): void => {};

  constructor(
    name: string,
    locks: Locks,
    channel: Channel & { unref?(): void },
    lead: () => void,
    heard: (post: Post) => void,
  ) {
    this.#name = name;
    this.#locks = locks;
    this.#channel = channel;
    this.#lead = lead;
    channel.onmessage = (event: { data: Post }) => heard(event.data);
    channel.unref?.(); // in Node it would keep the process alive
  }

  join(): void {
    if (this.#abort) return;
    const abort = (this.#abort = new AbortController());
    const begin = (): Promise<void> => {
      if (abort.signal.aborted) return Promise.resolve();
      this.leader = true;
      this.#lead();
      return new Promise((resolve) => (this.#release = resolve));
    };
    this.#locks.request(this.#name, { signal: abort.signal }, begin).catch(() => {
      if (!this.leader) void begin(); // left, or locks are forbidden here: then everybody for himself
    });
  }

  leave(): void {
    this.#abort?.abort();
    this.#abort = undefined;
    this.leader = false;
    this.#release();
  }

  post(post: Post): void {
    this.#channel.postMessage(post);
  }
}
