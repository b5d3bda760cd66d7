import { textOf } from "../pure.mjs";
import type { Options } from "../options.mjs";
import type { StorageInfo } from "../types.mjs";
import { IndexedDbStorage } from "./indexeddb.mjs";
import { LocalStorage } from "./local.mjs";
import { MemoryStorage } from "./memory.mjs";
import type { Meta, Saved, Storage } from "./storage.mjs";

const KINDS = { indexeddb: IndexedDbStorage, localstorage: LocalStorage, memory: MemoryStorage };

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
  const kinds = Object.entries(KINDS);
  const from = asked ? kinds.findIndex(([kind]) => kind === asked) : 0;
  if (from < 0) throw new Error(`storage: ${asked}`);
  let why: string | undefined;
  for (const [kind, Kind] of kinds.slice(from)) {
    try {
      const storage: Storage = new Kind();
      const saved = await storage.open(scope, fresh);
      return { storage, saved, info: { kind, durable: storage.durable, ...(why && { why }) } };
    } catch (error) {
      why = `${why ? why + "; " : ""}${kind}: ${textOf(error)}`;
    }
  }
  throw new Error(why);
}
