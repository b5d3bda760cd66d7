/** What the client tells, made into what is stored and what is shown. `view` is what the page draws; the event
 * `changed` says that it is another.
 */

import { compare, markedRead, placed, placeOf, receipted, recordsOf, recordsOfAccepted } from "./model.mjs";

const TIDY = 16; // ms; what comes in one go is drawn in one go

export class Feed extends EventTarget {
  view = {
    rows: new Map(), outbox: [], gaps: [], repeats: 0, leader: true,
    connection: { state: "idle" }, storage: null, caught: null, off: false, trouble: null, restored: 0,
  };
  /** The conversation that is open, or null. */
  conversation = null;
  #timer = null;

  /** `channel`: a BroadcastChannel of this device's tabs, or null. */
  constructor({ user, device, client, store, network, channel }) {
    super();
    Object.assign(this, { user, device, client, store, network, channel });
    channel?.addEventListener("message", ({ data }) => data?.changed && this.#reload(data.changed));
    network.addEventListener("change", () => this.show({ off: network.off }));
    document.addEventListener("visibilitychange", () => this.readOpen());
    this.#listen();
  }

  async load() {
    for (const row of await this.store.rows()) this.view.rows.set(row.peer, row);
    this.show({ gaps: await this.store.gaps() });
    await this.outboxChanged();
  }

  #listen() {
    const on = (type, handler) => this.client.on(type, handler);
    on("state", (change) => this.show({ connection: change }));
    on("storage", (storage) => this.show({ storage }));
    on("welcome", () => this.show({ caught: { count: 0, until: null, done: false } }));
    on("live", (live) => this.#live(live));
    on("message", (message) => this.#message(message));
    on("gap", (gap) => this.#gap(gap));
    on("receipt", (receipt) => this.#receipt(receipt));
    on("read", (read) => this.#readElsewhere(read));
    on("accepted", (answer) => this.#accepted(answer));
    on("outbox", () => this.outboxChanged());
    on("stale", () => this.outboxChanged());
    on("failed", () => this.outboxChanged());
    on("leader", () => this.show({}));
    on("error", (error) => this.show({ trouble: error }));
  }

  // The cursor moves on when this has finished: so it finishes when the message is stored.
  async #message(message) {
    const records = recordsOf(message, this.user);
    const rows = await this.store.put(records, { counts: true });
    this.#caughtUp(message);
    this.take(records, rows);
    this.readOpen();
  }

  #caughtUp(message) {
    const { caught } = this.view;
    if (caught == null || !message.replay || message.from === this.user) return;
    if (caught.until != null && compare(placeOf(message.cursor), placeOf(caught.until)) > 0) return;
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

  async #receipt({ by, target, kind }) {
    const record = await this.store.record(by, `message/${this.user}/${target}`);
    if (record == null) return;
    const row = await this.store.change(by, (row) => receipted(row, kind, placed(record)));
    this.take([], [row]);
  }

  async #readElsewhere({ from, upto }) {
    const record = from && (await this.store.record(from, `message/${from}/${upto}`));
    if (!record) return;
    const left = (await this.store.after(from, placed(record))).filter((one) => !one.mine).length;
    const row = await this.store.change(from, (row) => ({ ...row, unread: left, read: placed(record) }));
    this.take([], [row]);
  }

  async #accepted({ id, acceptance }) {
    const item = this.view.outbox.find((one) => one.id === id);
    if (item == null) return; // its own copy will come
    const records = recordsOfAccepted(item, acceptance, this.user);
    this.conversation?.add(records);
    this.show({});
    this.take(records, await this.store.put(records, { counts: false }));
  }

  async outboxChanged() {
    this.show({ outbox: await this.client.outbox() });
  }

  // For whoever is built on this

  /** Shows what was stored, here and in the other tabs. */
  take(records, rows) {
    for (const row of rows) this.view.rows.set(row.peer, row);
    this.conversation?.add(records);
    this.show({});
    for (const row of rows) this.announce(row.peer);
  }

  /** The open conversation is read where its end is in view. */
  async readOpen() {
    const { conversation } = this;
    const row = conversation && this.view.rows.get(conversation.peer);
    if (!row?.unread || document.visibilityState !== "visible" || !conversation.atEnd) return;
    this.take([], [await this.store.change(row.peer, markedRead)]);
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
