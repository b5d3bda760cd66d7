/** Groups: who is in them, who leads, how far each member has read. What the service said last is kept. */

import { groupOf, isGroup } from "./model.mjs";
import { described, marked, mayWrite, reachedBy } from "./rows.mjs";

const [SOON, MOST] = [1000, 8000]; // ms between looks at the open group's marks, while somebody has not read

export class Groups {
  #session;
  #timer = null;

  constructor(session) {
    this.#session = session;
    session.on("live", () => this.#open && this.look(this.#open));
    session.on("group", ({ group }) => `#${group}` === this.#open && this.#describe(this.#open));
    session.on("accepted", ({ acceptance }) => `#${acceptance.group}` === this.#open && this.#follow(this.#open));
  }

  /** Asks about the group whose conversation is open; null, or somebody: no more. */
  look(peer) {
    clearTimeout(this.#timer);
    if (peer == null || !isGroup(peer)) return;
    this.#describe(peer);
    this.#marks(peer);
    this.#follow(peer);
  }

  end() {
    clearTimeout(this.#timer);
  }

  /** Makes one; resolves with its conversation. Rejects with what the service says. */
  async create(group, name, members) {
    const made = await this.#session.http.putGroup(group, { name, members });
    await this.#keep(`#${group}`, (row) => described(row, made));
    return `#${group}`;
  }

  async add(peer, user) {
    await this.#session.http.addMember(groupOf(peer), user);
    await this.#describe(peer);
  }

  /** Also oneself: that is leaving. */
  async remove(peer, user) {
    await this.#session.http.removeMember(groupOf(peer), user);
    if (user !== this.#session.user) await this.#describe(peer);
  }

  get #open() {
    const peer = this.#session.conversation?.peer;
    return peer != null && isGroup(peer) ? peer : null;
  }

  get #live() {
    return this.#session.view.connection.state === "live";
  }

  // Soon, then less and less often: most read at once, or much later.
  #follow(peer, pause = SOON) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      if (this.#wanting(peer)) await this.#marks(peer);
      if (this.#open === peer) this.#follow(peer, Math.min(MOST, 2 * pause));
    }, pause);
  }

  // Whether somebody has not read one's own newest message there, and one is looking.
  #wanting(peer) {
    const { conversation, view, user } = this.#session;
    const row = view.rows.get(peer);
    const own = conversation?.records.findLast((one) => one.mine && one.n != null && one.kind !== "event");
    if (!own || !row || document.visibilityState !== "visible") return false;
    const far = reachedBy(row, own.n, user);
    return far == null || far.read < far.of;
  }

  #describe(peer) {
    return this.#ask(peer, (group) => this.#session.http.group(group), described);
  }

  #marks(peer) {
    return this.#ask(peer, (group) => this.#session.http.marks(group), marked);
  }

  // Where nobody answers there is what was said last; whoever is no member is told so by the log.
  async #ask(peer, ask, change) {
    const row = this.#session.view.rows.get(peer);
    if (!this.#live || !row || !mayWrite(row)) return;
    const answer = await ask(groupOf(peer)).catch(() => null);
    if (answer) await this.#keep(peer, (row) => change(row, answer));
  }

  async #keep(peer, change) {
    this.#session.take({ rows: [await this.#session.store.change(peer, change)] });
  }
}
