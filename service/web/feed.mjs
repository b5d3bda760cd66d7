/** What the client tells, made into what is stored and what is shown. `view` is what the page draws; the event
 * `changed` says that it is another.
 */

import {
  LOGGED, compare, identityOf, isChange, isLine, placeOf, placed, reached, recordsOf, recordsOfAccepted, refOf,
} from "./model.mjs";
import { owing, readHere, receipted } from "./rows.mjs";

const TIDY = 16; // ms; what comes in one go is drawn in one go
// What is refused of signals, watches and reads is no matter of the reader's: sends have an id, and say so in the log.
const PASSING = ["unavailable", "rate_limited", "no_such_group", "no_such_message"];

export class Feed extends EventTarget {
  view = {
    rows: new Map(), outbox: [], gaps: [], repeats: 0, leader: true,
    connection: { state: "idle" }, storage: null, caught: null, off: false, trouble: null, restored: 0,
  };
  /** The conversation that is open, or null. */
  conversation = null;
  #timer = null;
  #offs = [];

  /** `channel`: a BroadcastChannel of this device's tabs, or null. */
  constructor({ user, device, client, store, network, channel }) {
    super();
    Object.assign(this, { user, device, client, store, network, channel });
    this.#hear(channel, "message", ({ data }) => data?.changed && this.#reload(data.changed));
    this.#hear(network, "change", () => this.show({ off: network.off }));
    this.#hear(document, "visibilitychange", () => document.visibilityState === "visible" && this.readOpen());
    this.#listen();
  }

  async load() {
    for (const row of await this.store.rows()) this.view.rows.set(row.peer, row);
    this.show({ gaps: await this.store.gaps() });
    await this.outboxChanged();
  }

  /** Calls `handler` for the client's events of a type, until the end. */
  on(type, handler) {
    this.#offs.push(this.client.on(type, handler));
  }

  /** Nothing is heard any more: whoever is here next may be another. */
  deafen() {
    for (const off of this.#offs.splice(0)) off?.();
    clearTimeout(this.#timer);
  }

  #hear(target, type, handler) {
    target?.addEventListener(type, handler);
    this.#offs.push(() => target?.removeEventListener(type, handler));
  }

  #listen() {
    this.on("state", (change) => this.show({ connection: change }));
    this.on("storage", (storage) => this.show({ storage }));
    this.on("welcome", () => this.show({ caught: { count: 0, until: null, done: false } }));
    this.on("live", (live) => this.#live(live));
    for (const type of LOGGED) this.on(type, (entry) => this.#entry(entry));
    this.on("gap", (gap) => this.#gap(gap));
    this.on("receipt", (receipt) => this.#receipt(receipt));
    this.on("read", (read) => this.#readElsewhere(read));
    this.on("accepted", (answer) => this.#accepted(answer));
    for (const type of ["outbox", "stale", "failed"]) this.on(type, () => this.outboxChanged());
    this.on("leader", () => this.show({}));
    this.on("error", (error) => PASSING.includes(error.code) || this.show({ trouble: error }));
  }

  // The cursor moves on when this has finished: so it finishes when the entry is stored.
  async #entry(entry) {
    const stored = await this.store.put(recordsOf(entry, this.user), { counts: true });
    this.#caughtUp(entry);
    this.take(stored);
  }

  #caughtUp(entry) {
    const { caught } = this.view;
    if (caught == null || !entry.replay || entry.type !== "message" || entry.from === this.user) return;
    if (caught.until != null && compare(placeOf(entry.cursor), placeOf(caught.until)) > 0) return;
    this.show({ caught: { ...caught, count: caught.count + 1 } });
  }

  #live({ cursor }) {
    const { caught } = this.view;
    if (caught) this.show({ caught: { ...caught, until: cursor ?? null, done: true } });
    if (this.conversation) this.conversation.dry = false;
  }

  async #gap(gap) {
    const stored = { place: placeOf(gap.cursor), missing: gap.missing ?? null, reason: String(gap.reason) };
    await this.store.addGap(stored);
    this.show({ gaps: await this.store.gaps() });
    this.announce("*");
  }

  // Of a message that is not stored yet it is noted: its acceptance may be on its way.
  async #receipt({ by, target, kind }) {
    if (kind !== "delivered" && kind !== "read") return;
    const identity = identityOf(this.user, target);
    const told = (row, record) => (isLine(record) ? receipted(row, kind, placed(record)) : owing(row, kind, identity));
    this.take({ rows: [await this.store.change(by, told, identity)] });
  }

  async #readElsewhere({ from, group, upto }) {
    this.take({ rows: [await (group != null ? this.#readGroup(`#${group}`, upto) : this.#readOne(from, upto))] });
  }

  async #readOne(peer, upto) {
    const identity = identityOf(peer, upto);
    const record = await this.store.record(peer, identity);
    if (!isLine(record)) return this.store.change(peer, (row) => owing(row, "own", identity));
    return this.readUpTo(peer, placed(record));
  }

  async #readGroup(peer, upto) {
    const later = await this.store.after(peer, (await this.store.row(peer)).read);
    const last = later.findLast((one) => one.n <= upto);
    if (last) await this.readUpTo(peer, placed(last));
    return this.store.change(peer, (row) => ({ ...row, readN: Math.max(row.readN, upto) }));
  }

  async #accepted({ id, acceptance }) {
    const item = this.view.outbox.find((one) => one.id === id);
    if (item == null) return; // its own copy will come
    const records = recordsOfAccepted(item, acceptance, this.user);
    if (!isChange(item)) this.conversation?.add(records);
    this.take(await this.store.put(records, { counts: false }));
  }

  async outboxChanged() {
    this.show({ outbox: await this.client.outbox() });
  }

  // For whoever is built on this

  /** Shows what was stored, here and in the other tabs. */
  take({ records = [], rows }) {
    for (const row of rows) this.view.rows.set(row.peer, row);
    this.conversation?.add(records);
    this.show({});
    for (const row of rows) this.announce(row.peer);
  }

  /** Stores that a conversation is read up to a place; resolves with its row. */
  readUpTo(peer, place) {
    return this.store.recount(peer, place, (row, later) => readHere(row, place, later));
  }

  /** What is in view of the open conversation is read: the newest of it is said to be. */
  async readOpen() {
    const { conversation } = this;
    const row = conversation && this.view.rows.get(conversation.peer);
    const newest = conversation?.newestInView();
    if (!row || !newest || conversation.reading || document.visibilityState !== "visible") return;
    if (reached(placed(newest), row.told) && !(row.unread > 0 && conversation.atEnd)) return;
    conversation.reading = true;
    try {
      await this.client.read(refOf(newest, this.user));
      this.take({ rows: [await this.readUpTo(row.peer, placed(newest))] });
    } catch {
      return; // a storage fails, which is told elsewhere; the next look tries again
    } finally {
      conversation.reading = false;
    }
    await this.readOpen(); // more may have come
  }

  announce(peer) {
    this.channel?.postMessage({ changed: peer });
  }

  async #reload(peer) {
    if (peer === "*") return this.show({ gaps: await this.store.gaps() });
    this.view.rows.set(peer, await this.store.row(peer));
    if (this.conversation?.peer === peer) await this.conversation.reload();
    return this.show({});
  }

  /** Draws the page anew, soon; `change`: of the view. */
  show(change) {
    this.view = { ...this.view, ...change, repeats: this.client.stats?.repeats ?? 0, leader: this.client.leader };
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.dispatchEvent(new Event("changed"));
    }, TIDY);
  }
}
