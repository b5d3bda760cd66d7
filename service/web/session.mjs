/** What the user wants, done with the client and the store. */

import { Conversation } from "./conversation.mjs";
import { Feed } from "./feed.mjs";
import { Groups } from "./groups.mjs";
import { LOGGED, bodyOf, groupOf, isGroup, placed, recordsOf, refOf } from "./model.mjs";
import { People } from "./people.mjs";
import { blankRow, recounted } from "./rows.mjs";

export class Session extends Feed {
  #mended = new Set(); // conversations that were compared with the server's history
  #forgotten = false; // the list is being made from what the service says

  /** `http`: an InboxHttp. The rest as `Feed` has it. */
  constructor(parts) {
    super(parts);
    this.http = parts.http;
    this.people = new People(this);
    this.groups = new Groups(this);
    this.on("live", () => this.#mend());
  }

  async start() {
    await this.load();
    this.connect();
  }

  connect() {
    this.client.connect().catch(() => {}); // the state says it
  }

  async end() {
    this.leave();
    this.deafen();
    this.groups.end();
    await this.client.close();
    this.network.close?.();
    this.channel?.close();
  }

  async open(peer) {
    if (this.conversation?.peer === peer) return;
    const row = this.view.rows.get(peer) ?? blankRow(peer);
    this.view.rows.set(peer, row);
    const conversation = (this.conversation = new Conversation(this, row));
    this.show({});
    this.people.look(peer);
    this.groups.look(peer);
    await conversation.load();
    this.show({});
    await this.#mend();
  }

  leave() {
    this.conversation = null;
    this.people.look(null);
    this.groups.look(null);
    this.show({});
  }

  /** Older messages of the open conversation. */
  async older() {
    await this.conversation?.older();
    this.show({});
  }

  /** Resolves when it is in the outbox; that it was accepted is told by events. */
  send(peer, text) {
    const sent = isGroup(peer) ? this.client.sendToGroup(groupOf(peer), { text }) : this.client.send(peer, { text });
    sent.catch((error) => this.#refused(error, peer, text));
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

  /** One's own message says another text; what else was in it stays. */
  edit(identity, text) {
    this.#change(identity, (record, ref) => this.client.edit(ref, { ...bodyOf(record), text }));
  }

  /** One's own message is erased, everywhere. */
  remove(identity) {
    this.#change(identity, (record, ref) => this.client.delete(ref));
  }

  /** One reaction each: the same once more takes it back. `given`: what one has given so far. */
  react(identity, emoji, given) {
    this.#change(identity, (record, ref) => this.client.react(ref, emoji === given ? null : { emoji }));
  }

  #change(identity, change) {
    const record = this.conversation?.records.find((one) => one.identity === identity);
    if (record) change(record, refOf(record, this.user)).catch((error) => this.#unchanged(error));
  }

  // What is in the outbox is shown where it belongs.
  async #unchanged(error) {
    await this.outboxChanged();
    if (error?.code === "discarded" || this.view.outbox.some((item) => item.id === error?.id)) return;
    this.show({ trouble: error });
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
    if (this.view.connection.state !== "live") return { known: false, more: true };
    const where = peer && (isGroup(peer) ? { group: groupOf(peer) } : { with: peer });
    const { entries, more } = await this.client.history({ limit, ...where, ...(before && { before }) });
    const records = entries.filter((one) => LOGGED.includes(one.type)).flatMap((one) => recordsOf(one, this.user));
    const stored = await this.store.put(records, { counts: false });
    this.take(peer ? { rows: stored.rows } : stored);
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
      else if (this.#forgotten || this.view.rows.size === 0) await this.#begin();
    } catch {
      this.#mended.delete(peer); // the next time
    }
  }

  // The list of a browser that has forgotten it: from the newest entries, and what the service says of each conversation.
  async #begin() {
    this.#forgotten = true;
    await this.history(null, null, 200);
    for (const { with: peer, group, last, unread } of await this.http.conversations()) {
      const records = recordsOf(last, this.user);
      const { rows } = await this.store.put(records, { counts: false });
      const told = (row, later) => ({ row: recounted(row, unread, records[0], later), counted: [] });
      this.take({ rows: [...rows, await this.store.recount(peer ?? `#${group}`, placed(records[0]), told)] });
    }
    this.#forgotten = false;
  }
}
