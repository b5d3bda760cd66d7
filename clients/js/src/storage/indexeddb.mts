import type { Change, Kept, Mark, Meta, Saved, Storage } from "./storage.mjs";

const DATABASE = "inboxd";
const STORES = ["meta", "marks", "outbox"];

/** IndexedDB: every change is one transaction; the outbox's wait for the disk where the browser can. */
export class IndexedDbStorage implements Storage {
  readonly #factory: IDBFactory;
  readonly kind = "indexeddb";
  readonly durable = true;
  readonly shared = true;
  #database?: IDBDatabase;
  #scope = "";
  #tail: Promise<unknown> = Promise.resolve();

  constructor(factory: IDBFactory = indexedDB) {
    this.#factory = factory;
  }

  open(scope: string, fresh: Meta): Promise<Saved> {
    this.#scope = scope;
    const all = IDBKeyRange.bound([scope], [scope, []]); // an array sorts behind every number and string
    return this.#transact(async (stores) => {
      const asked = STORES.map((name) => answer<any[]>(stores(name).getAll(all)));
      const [metas, marks, outbox] = (await Promise.all(asked)) as [Meta[], Mark[], Kept[]];
      if (!metas[0]) stores("meta").put(fresh, [scope, 0]);
      return { meta: metas[0] ?? fresh, marks, outbox };
    });
  }

  write({ meta, mark, put = [], remove = [] }: Change): Promise<void> {
    return this.#transact(async (stores) => {
      const at = (key: string | number): [string, string | number] => [this.#scope, key];
      if (mark) stores("marks").put(mark, at(mark.slot));
      for (const item of put) stores("outbox").put(item, at(item.id));
      for (const id of remove) stores("outbox").delete(at(id));
      if (meta) stores("meta").put({ ...(await answer(stores("meta").get(at(0)))), ...meta }, at(0));
    }, put.length > 0);
  }

  /** In the order of the calls, also while the database is opened anew. */
  #transact<T>(work: (stores: (name: string) => IDBObjectStore) => Promise<T>, strict = false): Promise<T> {
    const done = this.#tail.then(async () => {
      const database = (this.#database ??= await this.#connect());
      let transaction: IDBTransaction;
      try {
        transaction = database.transaction(STORES, "readwrite", { durability: strict ? "strict" : "default" });
      } catch {
        this.#database = await this.#connect(); // the browser had closed it
        transaction = this.#database.transaction(STORES, "readwrite");
      }
      const committed = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
      });
      const result = work((name) => transaction.objectStore(name));
      await Promise.all([committed, result]);
      return result;
    });
    this.#tail = done.catch(() => {});
    return done;
  }

  #connect(): Promise<IDBDatabase> {
    const request = this.#factory.open(DATABASE, 1);
    request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name));
    return answer(request).then((database) => {
      database.onversionchange = () => database.close();
      return database;
    });
  }
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
