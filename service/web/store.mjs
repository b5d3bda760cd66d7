/** The page's own memory in IndexedDB, one database for each user and device: messages by identity, conversations,
 * gaps. Every change is one transaction, so that several tabs may write, and a repeat changes nothing.
 */

import { kept } from "./model.mjs";
import { MemoryStore } from "./memory.mjs";
import { advance, rowOf } from "./rows.mjs";

const LOWEST = [-Infinity, -Infinity];
const HIGHEST = [Infinity, Infinity];

const answer = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const finished = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });

const after = (peer, place) => IDBKeyRange.bound([peer, ...(place ?? LOWEST)], [peer, ...HIGHEST], place != null);

/** The best store that works here. */
export async function openStore(scope) {
  try {
    const store = new Store(`inboxd-page:${scope}`);
    await store.opened();
    return store;
  } catch (error) {
    return new MemoryStore(String(error?.message ?? error));
  }
}

async function open(name) {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => {
    const entries = request.result.createObjectStore("entries", { keyPath: ["peer", "identity"] });
    entries.createIndex("place", ["peer", "ms", "seq"]);
    request.result.createObjectStore("rows", { keyPath: "peer" });
    request.result.createObjectStore("gaps", { keyPath: ["place", "reason"] });
  };
  return answer(request);
}

class Store {
  durable = true;
  #name;
  #db = null;

  constructor(name) {
    this.#name = name;
  }

  /** The database; opened anew where the browser has closed it. */
  opened() {
    this.#db ??= open(this.#name).then(
      (db) => {
        db.onclose = () => (this.#db = null);
        db.onversionchange = () => (db.close(), (this.#db = null));
        return db;
      },
      (error) => {
        this.#db = null;
        throw error;
      },
    );
    return this.#db;
  }

  /** Keeps records. Resolves, once they are stored, with {records, rows}: those that changed, as they are stored now.
   * `counts`: they were delivered just now, so they count as unread.
   */
  async put(records, { counts }) {
    const { entries, rows, done } = await this.#writing("entries", "rows");
    const [stored, changed] = [[], new Map()];
    for (const record of records) {
      const known = await answer(entries.get([record.peer, record.identity]));
      const found = kept(record, known, counts);
      if (found == null) continue;
      entries.put(found.record);
      stored.push(found.record);
      const row = changed.get(record.peer) ?? rowOf(record.peer, await answer(rows.get(record.peer)));
      changed.set(record.peer, advance(row, found.record, found.fresh, known));
    }
    for (const row of changed.values()) rows.put(row);
    await done;
    return { records: stored, rows: [...changed.values()] };
  }

  /** Changes one conversation; resolves with its row. `change(row, record)` answers with the new one; `record` is the stored
   * one of `identity`, where that is given and there.
   */
  async change(peer, change, identity = null) {
    const { entries, rows, done } = await this.#writing("entries", "rows");
    const record = identity == null ? undefined : await answer(entries.get([peer, identity]));
    const row = change(rowOf(peer, await answer(rows.get(peer))), record);
    rows.put(row);
    await done;
    return row;
  }

  /** Changes one conversation by what is stored after a place; resolves with its row. `change(row, later)` answers with {row,
   * counted}: the new one, and the records that count as unread from now on.
   */
  async recount(peer, place, change) {
    const { entries, rows, done } = await this.#writing("entries", "rows");
    const later = await answer(entries.index("place").getAll(after(peer, place)));
    const { row, counted } = change(rowOf(peer, await answer(rows.get(peer))), later);
    for (const record of counted) entries.put({ ...record, counted: true });
    rows.put(row);
    await done;
    return row;
  }

  async rows() {
    return (await answer((await this.#reading("rows")).getAll())).map((row) => rowOf(row.peer, row));
  }

  async row(peer) {
    return rowOf(peer, await answer((await this.#reading("rows")).get(peer)));
  }

  async record(peer, identity) {
    return answer((await this.#reading("entries")).get([peer, identity]));
  }

  /** The last `limit` records of a conversation before a place (null: before nothing), ascending. */
  async page(peer, before, limit) {
    const upper = [peer, ...(before ?? HIGHEST)];
    const range = IDBKeyRange.bound([peer, ...LOWEST], upper, false, before != null);
    const request = (await this.#reading("entries")).index("place").openCursor(range, "prev");
    const found = [];
    return new Promise((resolve, reject) => {
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (cursor) found.push(cursor.value);
        if (cursor && found.length < limit) cursor.continue();
        else resolve(found.reverse());
      };
    });
  }

  /** The records of a conversation after a place, ascending. */
  async after(peer, place) {
    return answer((await this.#reading("entries")).index("place").getAll(after(peer, place)));
  }

  async addGap(gap) {
    const { gaps, done } = await this.#writing("gaps");
    gaps.put(gap);
    await done;
  }

  async gaps() {
    return answer((await this.#reading("gaps")).getAll());
  }

  async #reading(name) {
    return (await this.opened()).transaction(name).objectStore(name);
  }

  // The client stores its cursor after this has finished, in the same browser's log: the order is kept.
  async #writing(...names) {
    const transaction = (await this.opened()).transaction(names, "readwrite");
    const stores = Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)]));
    const done = finished(transaction);
    done.catch(() => {}); // whoever waits for it hears of it, or of what made it fail
    return { ...stores, done };
  }
}
