/** The same as the store in `store.mjs`, where a browser keeps nothing: all of it goes with the page. */

import { compare, isLine, kept, placed } from "./model.mjs";
import { advance, blankRow } from "./rows.mjs";

export class MemoryStore {
  durable = false;
  #records = new Map();
  #rows = new Map();
  #gaps = new Map();

  /** `why`: what IndexedDB said. */
  constructor(why = "") {
    this.why = why;
  }

  async put(records, { counts }) {
    const [stored, changed] = [[], new Set()];
    for (const record of records) {
      const { peer, identity } = record;
      const known = this.#of(peer).get(identity);
      const found = kept(record, known, counts);
      if (found == null) continue;
      this.#of(peer).set(identity, found.record);
      stored.push(found.record);
      this.#rows.set(peer, advance(this.#row(peer), found.record, found.fresh, known));
      changed.add(peer);
    }
    return { records: stored, rows: [...changed].map((peer) => this.#row(peer)) };
  }

  async change(peer, change, identity = null) {
    this.#rows.set(peer, change(this.#row(peer), this.#of(peer).get(identity)));
    return this.#row(peer);
  }

  async recount(peer, place, change) {
    const { row, counted } = change(this.#row(peer), this.#after(peer, place));
    for (const record of counted) this.#of(peer).set(record.identity, { ...record, counted: true });
    this.#rows.set(peer, row);
    return row;
  }

  async rows() {
    return [...this.#rows.values()];
  }

  async row(peer) {
    return this.#row(peer);
  }

  async record(peer, identity) {
    return this.#of(peer).get(identity);
  }

  async page(peer, before, limit) {
    const older = this.#sorted(peer).filter((one) => before == null || compare(placed(one), before) < 0);
    return older.slice(-limit);
  }

  async after(peer, place) {
    return this.#after(peer, place);
  }

  async addGap(gap) {
    this.#gaps.set(`${gap.place}/${gap.reason}`, gap);
  }

  async gaps() {
    return [...this.#gaps.values()].sort((one, other) => compare(one.place, other.place));
  }

  #row(peer) {
    return this.#rows.get(peer) ?? blankRow(peer);
  }

  #of(peer) {
    if (!this.#records.has(peer)) this.#records.set(peer, new Map());
    return this.#records.get(peer);
  }

  #after(peer, place) {
    return this.#sorted(peer).filter((one) => place == null || compare(placed(one), place) > 0);
  }

  #sorted(peer) {
    return [...this.#of(peer).values()].filter(isLine).sort((one, other) => compare(placed(one), placed(other)));
  }
}
