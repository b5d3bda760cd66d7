/** The same as the store in `store.mjs`, where a browser keeps nothing: all of it goes with the page. */

import { advance, blankRow, compare, kept, placed } from "./model.mjs";

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
    const changed = new Map();
    for (const record of records) {
      const known = await this.record(record.peer, record.identity);
      const found = kept(record, known, counts);
      if (found == null) continue;
      this.#of(record.peer).set(record.identity, found.record);
      const row = changed.get(record.peer) ?? (await this.row(record.peer));
      changed.set(record.peer, advance(row, found.record, found.fresh));
    }
    for (const row of changed.values()) this.#rows.set(row.peer, row);
    return [...changed.values()];
  }

  async change(peer, change) {
    const row = change(await this.row(peer));
    this.#rows.set(peer, row);
    return row;
  }

  async rows() {
    return [...this.#rows.values()];
  }

  async row(peer) {
    return this.#rows.get(peer) ?? blankRow(peer);
  }

  async record(peer, identity) {
    return this.#of(peer).get(identity);
  }

  async page(peer, before, limit) {
    const older = this.#sorted(peer).filter((one) => before == null || compare(placed(one), before) < 0);
    return older.slice(-limit);
  }

  async after(peer, place) {
    return this.#sorted(peer).filter((one) => place == null || compare(placed(one), place) > 0);
  }

  async addGap(gap) {
    this.#gaps.set(`${gap.place}/${gap.reason}`, gap);
  }

  async gaps() {
    return [...this.#gaps.values()].sort((one, other) => compare(one.place, other.place));
  }

  #of(peer) {
    if (!this.#records.has(peer)) this.#records.set(peer, new Map());
    return this.#records.get(peer);
  }

  #sorted(peer) {
    return [...this.#of(peer).values()].sort((one, other) => compare(placed(one), placed(other)));
  }
}
