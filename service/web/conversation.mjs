/** The open conversation: the records that are loaded, in order, and how to get older ones. */

import { compare, isLine, joined, placed } from "./model.mjs";

const PAGE = 50;
const SETTLE = 150; // ms until what was put in front is drawn
const MOST = 200; // loaded while the end is in view; more on scrolling up

export class Conversation {
  records = [];
  /** Older ones are being put in front: nothing of that is news, so nothing of it is read out. */
  loading = true;
  /** Nothing older is stored, nor on the server. */
  atStart = false;
  /** The end of the log is in view. */
  atEnd = true;
  /** The last look for older ones found none, for now. */
  dry = false;
  /** Where the unread ones began when it was opened: a place, or null. */
  newAfter = null;
  /** The lowest line that was drawn in view: an identity; null before anything was. */
  seen = null;
  /** What was read is being stored. */
  reading = false;

  #session;

  constructor(session, row) {
    this.#session = session;
    this.peer = row.peer;
    if (row.unread > 0) this.newAfter = row.read;
  }

  async load() {
    this.add(await this.#session.store.page(this.peer, null, PAGE)); // some may have come meanwhile
    this.#settle();
  }

  /** Brings in what the server has of the newest ones and the store has not. */
  async mend() {
    this.loading = true;
    try {
      await this.#session.history(this.peer, null, PAGE);
      await this.reload();
    } finally {
      this.#settle();
    }
  }

  /** What is stored now, as far back as was loaded. */
  async reload() {
    const { store } = this.#session;
    const stored = await store.page(this.peer, null, Math.max(PAGE, this.records.length));
    this.add(stored);
  }

  /** Records that were stored; those of other conversations are passed over. */
  add(records) {
    const all = this.#with(records);
    if (this.atEnd && all.length > MOST) {
      this.atStart = false;
      all.splice(0, all.length - MOST);
    }
    this.records = all;
  }

  // In order, whatever has come since these were asked for.
  #with(records) {
    const known = new Map(this.records.map((one) => [one.identity, one]));
    const own = records.filter((one) => one.peer === this.peer && (isLine(one) || known.has(one.identity)));
    for (const one of own) known.set(one.identity, joined(known.get(one.identity), one));
    return [...known.values()].sort((one, other) => compare(placed(one), placed(other)));
  }

  /** The newest message of another that is in view; undefined for none. */
  newestInView() {
    if (this.seen == null) return undefined;
    const at = this.atEnd ? this.records.length - 1 : this.records.findIndex((one) => one.identity === this.seen);
    return this.records.findLast((one, index) => index <= at && !one.mine && !one.erased && one.kind !== "event");
  }

  /** One page of older ones, from the server where it can be asked, and from the store. */
  async older() {
    if (this.loading || this.atStart) return;
    this.loading = true;
    try {
      await this.#older();
    } finally {
      this.#settle();
    }
  }

  #settle() {
    setTimeout(() => {
      this.loading = false;
      this.#session.show({});
    }, SETTLE);
  }

  async #older() {
    const first = this.records[0];
    const before = first ? placed(first) : null;
    const told = await this.#ask(before);
    const found = await this.#session.store.page(this.peer, before, PAGE);
    this.atStart = told.known && !told.more && found.length < PAGE;
    this.dry = found.length === 0;
    this.records = this.#with(found);
  }

  // Without an answer there is what is stored; the next scroll asks again.
  async #ask(before) {
    try {
      return await this.#session.history(this.peer, before?.join("-"), PAGE);
    } catch {
      return { known: false, more: true };
    }
  }
}
