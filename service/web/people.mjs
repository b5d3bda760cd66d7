/** Who is there, who is typing, whom one blocks. None of it is kept but the blocks: the rest is true only now. */

import { groupOf, isGroup } from "./model.mjs";

const SAID = 3000; // ms; that one types is said no more often than this
const FADES = 5000; // ms; after which nobody is typing who did not say so again

export class People {
  /** Of users that are watched: {status, last_seen}. */
  presence = new Map();
  #session;
  #watched = null;
  #typing = new Map(); // conversation → user → when it fades
  #said = new Map(); // conversation → when one last said so

  constructor(session) {
    this.#session = session;
    session.on("presence", ({ user, status, last_seen: seen }) => this.#seen(user, { status, lastSeen: seen }));
    session.on("signal", (signal) => this.#signal(signal));
    session.on("message", ({ from, group }) => this.#rests(group == null ? from : `#${group}`, from));
    session.on("welcome", () => this.presence.clear()); // it is said anew
    session.on("live", () => this.#blocks().catch(() => {})); // the next time
  }

  /** Watches whoever's conversation is open; null for nobody. */
  look(peer) {
    const { client, user } = this.#session;
    const next = peer == null || isGroup(peer) || peer === user ? null : peer;
    if (next === this.#watched) return;
    if (this.#watched) client.unwatch([this.#watched]);
    if (next) client.watch([next]);
    this.#watched = next;
  }

  /** Who is typing in a conversation, by name. */
  typing(peer) {
    return [...(this.#typing.get(peer)?.keys() ?? [])].sort();
  }

  /** One is typing there. */
  write(peer) {
    const now = performance.now();
    if (now - (this.#said.get(peer) ?? -SAID) < SAID || this.#session.view.connection.state !== "live") return;
    this.#said.set(peer, now);
    this.#session.client.signal(isGroup(peer) ? { group: groupOf(peer) } : { to: peer }, { typing: true });
  }

  /** What was typed is sent: the next word is news. */
  sent(peer) {
    this.#said.delete(peer);
  }

  async block(peer, blocked) {
    const { http } = this.#session;
    await (blocked ? http.block(peer) : http.unblock(peer));
    await this.#keep(peer, blocked);
  }

  async #blocks() {
    const blocked = new Set(await this.#session.http.blocks());
    for (const { peer, blocked: was } of [...this.#session.view.rows.values()]) {
      if (was !== blocked.has(peer)) await this.#keep(peer, blocked.has(peer));
    }
  }

  async #keep(peer, blocked) {
    this.#session.take({ rows: [await this.#session.store.change(peer, (row) => ({ ...row, blocked }))] });
  }

  #seen(user, one) {
    this.presence.set(user, one);
    this.#session.show({});
  }

  #signal({ from, group, body }) {
    if (body?.typing !== true || from === this.#session.user) return;
    const peer = group == null ? from : `#${group}`;
    const there = this.#typing.get(peer) ?? new Map();
    clearTimeout(there.get(from));
    this.#typing.set(peer, there.set(from, setTimeout(() => this.#rests(peer, from), FADES)));
    this.#session.show({});
  }

  #rests(peer, user) {
    const there = this.#typing.get(peer);
    if (!there?.has(user)) return;
    clearTimeout(there.get(user));
    there.delete(user);
    this.#session.show({});
  }
}
