/** What the user wants, done with the client and the store. */

import { Conversation } from "./conversation.mjs";
import { Feed } from "./feed.mjs";
import { blankRow, isGroup, recordsOf } from "./model.mjs";

export class Session extends Feed {
  #mended = new Set(); // conversations that were compared with the server's history

  constructor(parts) {
    super(parts);
    this.client.on("live", () => this.#mend());
  }

  async start() {
    await this.load();
    this.connect();
  }

  connect() {
    this.client.connect().catch(() => {}); // the state says it
  }

  async end() {
    this.conversation = null;
    await this.client.close();
    this.channel?.close();
  }

  async open(peer) {
    if (this.conversation?.peer === peer) return;
    const row = this.view.rows.get(peer) ?? blankRow(peer);
    this.view.rows.set(peer, row);
    const conversation = (this.conversation = new Conversation(this, row));
    this.show({});
    await conversation.load();
    this.show({});
    await this.readOpen();
    await this.#mend();
  }

  leave() {
    this.conversation = null;
    this.show({});
  }

  /** Older messages of the open conversation. */
  async older() {
    await this.conversation?.older();
    this.show({});
  }

  /** Resolves when it is in the outbox; that it was accepted is told by events. */
  send(peer, text) {
    this.client.send(peer, { text }).catch((error) => this.#refused(error, peer, text));
    return this.#sent(peer, text);
  }

  // The stored draft goes once the outbox has the message: a page that dies in between has one of the two.
  async #sent(peer, text) {
    const shown = (draft, row) => this.view.rows.set(peer, { ...(this.view.rows.get(peer) ?? row), draft });
    shown("", blankRow(peer));
    await this.client.outbox();
    const row = await this.store.change(peer, (row) => (row.draft === text ? { ...row, draft: "" } : row));
    shown(row.draft, row);
    this.show({});
  }

  async draft(peer, text) {
    const row = await this.store.change(peer, (row) => ({ ...row, draft: text }));
    this.view.rows.set(peer, { ...(this.view.rows.get(peer) ?? row), draft: text });
    this.show({});
  }

  retry(id) {
    this.client.retry(id).catch(() => this.outboxChanged());
  }

  discard(id) {
    this.client.discard(id).catch(() => this.outboxChanged());
  }

  dismiss(what) {
    this.show({ [what]: null });
  }

  /** Brings stored entries of `history` into the store; resolves with whether the server has older ones. */
  async history(peer, before, limit) {
    if (this.view.connection.state !== "live" || (peer && isGroup(peer))) return { known: false, more: true };
    const query = { limit, ...(peer && { with: peer }), ...(before && { before }) };
    const { entries, more } = await this.client.history(query);
    const records = entries.filter((one) => one.type === "message").flatMap((one) => recordsOf(one, this.user));
    this.take(peer ? [] : records, await this.store.put(records, { counts: false }));
    return { known: true, more };
  }

  // What was refused before it was in the outbox goes back to where it was written: nothing else shows it.
  async #refused(error, peer, text) {
    await this.outboxChanged();
    if (error?.code === "discarded" || this.view.outbox.some((item) => item.id === error?.id)) return;
    await this.draft(peer, text);
    this.show({ trouble: error, restored: this.view.restored + 1 });
  }

  // What this page has not, though the server has it: another browser wrote it, or the page's memory was cleared.
  async #mend() {
    const { conversation } = this;
    const peer = conversation?.peer ?? "";
    if (this.view.connection.state !== "live" || this.#mended.has(peer)) return;
    this.#mended.add(peer);
    try {
      if (conversation) await conversation.mend();
      else if (this.view.rows.size === 0) await this.history(null, null, 200);
    } catch {
      this.#mended.delete(peer); // the next time
    }
  }
}
