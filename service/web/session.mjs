/** What happens: the client's events and the user's wishes, made into what is stored and what is shown.
 * `session.view` is what the page draws; `changed` tells that it is another.
 */

import { Conversation } from "./conversation.mjs";
import { blankRow, compare, isGroup, markedRead, placed, placeOf, receipted, recordsOf, recordsOfAccepted } from "./model.mjs";

const TIDY = 16; // ms; what comes in one go is drawn in one go

export class Session extends EventTarget {
  view = {
    rows: new Map(), outbox: [], gaps: [], repeats: 0, leader: true,
    connection: { state: "idle" }, storage: null, caught: null, off: false, trouble: null, restored: 0,
  };
  /** The conversation that is open, or null. */
  conversation = null;
  #timer = null;
  #mended = new Set(); // conversations that were compared with the server's history

  /** `channel`: a BroadcastChannel of this device's tabs, or null. */
  constructor({ user, device, client, store, network, channel }) {
    super();
    Object.assign(this, { user, device, client, store, network, channel });
    channel?.addEventListener("message", ({ data }) => data?.changed && this.#reload(data.changed));
    network.addEventListener("change", () => this.#show({ off: network.off }));
    document.addEventListener("visibilitychange", () => this.#readOpen());
    this.#listen();
  }

  async start() {
    for (const row of await this.store.rows()) this.view.rows.set(row.peer, row);
    this.#show({ gaps: await this.store.gaps() });
    await this.#outboxChanged();
    this.connect();
  }

  connect() {
    this.client.connect().catch(() => {}); // the state says it
  }

  async end() {
    this.conversation = null;
    clearTimeout(this.#timer);
    await this.client.close();
    this.channel?.close();
  }

  // What the client tells

  #listen() {
    const on = (type, handler) => this.client.on(type, handler);
    on("state", (change) => this.#show({ connection: change }));
    on("storage", (storage) => this.#show({ storage }));
    on("welcome", () => this.#show({ caught: { count: 0, until: null, done: false } }));
    on("live", (live) => this.#live(live));
    on("message", (message) => this.#message(message));
    on("gap", (gap) => this.#gap(gap));
    on("receipt", (receipt) => this.#receipt(receipt));
    on("read", (read) => this.#readElsewhere(read));
    on("accepted", (answer) => this.#accepted(answer));
    on("outbox", () => this.#outboxChanged());
    on("stale", () => this.#outboxChanged());
    on("failed", () => this.#outboxChanged());
    on("leader", () => this.#show({}));
    on("error", (error) => this.#show({ trouble: error }));
  }

  // The cursor moves on when this has finished: so it finishes when the message is stored.
  async #message(message) {
    const records = recordsOf(message, this.user);
    const before = this.view.rows;
    const rows = await this.store.put(records, { counts: true });
    this.#caughtUp(message, rows);
    this.#take(records, rows);
    if (before.size > 0 || rows.length > 0) this.#readOpen();
  }

  #caughtUp(message, rows) {
    const { caught } = this.view;
    if (caught == null || !message.replay || message.from === this.user || rows.length === 0) return;
    if (caught.until != null && compare(placeOf(message.cursor), placeOf(caught.until)) > 0) return;
    this.#show({ caught: { ...caught, count: caught.count + 1 } });
  }

  #live({ cursor }) {
    const { caught } = this.view;
    if (caught) this.#show({ caught: { ...caught, until: cursor ?? null, done: true } });
    if (this.conversation) this.conversation.dry = false;
    this.#mend();
  }

  async #gap(gap) {
    const stored = { place: placeOf(gap.cursor), missing: gap.missing ?? null, reason: String(gap.reason) };
    await this.store.addGap(stored);
    this.#show({ gaps: await this.store.gaps() });
    this.#announce("*");
  }

  async #receipt({ by, target, kind }) {
    const record = await this.store.record(by, `message/${this.user}/${target}`);
    if (record == null) return;
    const row = await this.store.change(by, (row) => receipted(row, kind, placed(record)));
    this.#take([], [row]);
  }

  async #readElsewhere({ from, upto }) {
    const record = from && (await this.store.record(from, `message/${from}/${upto}`));
    if (!record) return;
    const left = (await this.store.after(from, placed(record))).filter((one) => !one.mine).length;
    const row = await this.store.change(from, (row) => ({ ...row, unread: left, read: placed(record) }));
    this.#take([], [row]);
  }

  async #accepted({ id, acceptance }) {
    const item = this.view.outbox.find((one) => one.id === id);
    if (item == null) return; // its own copy will come
    const records = recordsOfAccepted(item, acceptance, this.user);
    this.conversation?.add(records);
    this.#show({});
    this.#take(records, await this.store.put(records, { counts: false }));
  }

  async #outboxChanged() {
    this.#show({ outbox: await this.client.outbox() });
  }

  // What the user wants

  async open(peer) {
    if (this.conversation?.peer === peer) return;
    const row = this.view.rows.get(peer) ?? blankRow(peer);
    this.view.rows.set(peer, row);
    const conversation = (this.conversation = new Conversation(this, row));
    this.#show({});
    await conversation.load();
    this.#show({});
    await this.#readOpen();
    await this.#mend();
  }

  leave() {
    this.conversation = null;
    this.#show({});
  }

  /** Older messages of the open conversation. */
  async older() {
    await this.conversation?.older();
    this.#show({});
  }

  redraw() {
    this.#show({});
  }

  /** Resolves when it is in the outbox; that it was accepted is told by events. */
  send(peer, text) {
    this.client.send(peer, { text }).catch((error) => this.#refused(error, peer, text));
    return this.draft(peer, "");
  }

  async draft(peer, text) {
    const row = await this.store.change(peer, (row) => ({ ...row, draft: text }));
    this.view.rows.set(peer, { ...(this.view.rows.get(peer) ?? row), draft: text });
    this.#show({});
  }

  retry(id) {
    this.client.retry(id).catch(() => this.#outboxChanged());
  }

  discard(id) {
    this.client.discard(id).catch(() => this.#outboxChanged());
  }

  dismiss(what) {
    this.#show({ [what]: null });
  }

  /** Brings stored entries of `history` into the store; resolves with whether the server has older ones. */
  async history(peer, before, limit) {
    if (this.view.connection.state !== "live" || (peer && isGroup(peer))) return { known: false, more: true };
    const query = { limit, ...(peer && { with: peer }), ...(before && { before }) };
    const { entries, more } = await this.client.history(query);
    const records = entries.filter((one) => one.type === "message").flatMap((one) => recordsOf(one, this.user));
    this.#take(peer ? [] : records, await this.store.put(records, { counts: false }));
    return { known: true, more };
  }

  // What both lead to

  // What was refused before it was in the outbox goes back to where it was written: nothing else shows it.
  async #refused(error, peer, text) {
    await this.#outboxChanged();
    if (error?.code === "discarded" || this.view.outbox.some((item) => item.id === error?.id)) return;
    await this.draft(peer, text);
    this.#show({ trouble: error, restored: this.view.restored + 1 });
  }

  // What this page has not, though the server has it: another browser wrote it, or the page's memory was cleared.
  async #mend() {
    const peer = this.conversation?.peer ?? "";
    if (this.view.connection.state !== "live" || this.#mended.has(peer)) return;
    this.#mended.add(peer);
    try {
      if (peer === "" && this.view.rows.size === 0) await this.history(null, null, 200);
      if (peer === "") return;
      await this.history(peer, null, 50);
      await this.conversation?.reload();
      this.#show({});
    } catch {
      this.#mended.delete(peer); // the next time
    }
  }

  #take(records, rows) {
    for (const row of rows) this.view.rows.set(row.peer, row);
    this.conversation?.add(records);
    this.#show({});
    for (const row of rows) this.#announce(row.peer);
  }

  async #readOpen() {
    const { conversation } = this;
    const row = conversation && this.view.rows.get(conversation.peer);
    if (!row?.unread || document.visibilityState !== "visible" || !conversation.atEnd) return;
    this.#take([], [await this.store.change(row.peer, markedRead)]);
  }

  /** The end of the log came into view. */
  async seen() {
    await this.#readOpen();
  }

  #announce(peer) {
    this.channel?.postMessage({ changed: peer });
  }

  async #reload(peer) {
    if (peer === "*") return this.#show({ gaps: await this.store.gaps() });
    this.view.rows.set(peer, await this.store.row(peer));
    if (this.conversation?.peer === peer) await this.conversation.reload();
    return this.#show({});
  }

  #show(change) {
    this.view = { ...this.view, ...change, repeats: this.client.stats?.repeats ?? 0, leader: this.client.leader };
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.dispatchEvent(new Event("changed"));
    }, TIDY);
  }
}
