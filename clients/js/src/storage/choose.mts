import { textOf } from "../pure.mjs";
import type { Options } from "../options.mjs";
import type { StorageInfo } from "../types.mjs";
import { IndexedDbStorage } from "./indexeddb.mjs";
import { LocalStorage } from "./local.mjs";
import { MemoryStorage } from "./memory.mjs";
import type { Meta, Saved, Storage } from "./storage.mjs";

const MAKERS: [string, () => Storage][] = [
  ["indexeddb", () => new IndexedDbStorage()],
  ["localstorage", () => new LocalStorage()],
  ["memory", () => new MemoryStorage()],
];

export interface Opened {
  storage: Storage;
  saved: Saved;
  info: StorageInfo;
}

/** The storage that was asked for, or the next best that opens. One that the application made has no next best. */
export async function openStorage(asked: Options["storage"], scope: string, fresh: Meta): Promise<Opened> {
  if (typeof asked === "object") {
    return {
      storage: asked,
      saved: await asked.open(scope, fresh),
      info: { kind: asked.kind, durable: asked.durable },
    };
  }
  const from = asked ? MAKERS.findIndex(([kind]) => kind === asked) : 0;
  if (from < 0) throw new Error(`no storage is called ${asked}`);
  let why: string | undefined;
  for (const [kind, make] of MAKERS.slice(from)) {
    try {
      const storage = make();
      const saved = await storage.open(scope, fresh);
      return { storage, saved, info: { kind, durable: storage.durable, ...(why && { why }) } };
    } catch (error) {
      why = `${why ? why + "; " : ""}${kind}: ${textOf(error)}`;
    }
  }
  throw new Error(why);
}
