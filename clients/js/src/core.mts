import type { Clock } from "./clock.mjs";
import type { Emitter } from "./emitter.mjs";
import { textOf } from "./pure.mjs";
import type { Timing } from "./options.mjs";
import type { Storage } from "./storage/storage.mjs";
import type { Post } from "./tabs.mjs";
import type { Stats } from "./types.mjs";

/** What the parts of one client share. `storage` is there once it was opened. */
export interface Core {
  readonly clock: Clock;
  readonly random: () => number;
  readonly timing: Timing;
  readonly emitter: Emitter;
  readonly stats: Stats;
  storage: Storage;
  /** Tells the application and the other tabs. */
  tell(post: Post): void;
}

export function report(core: Core, code: string, error: unknown): void {
  core.emitter.emit("error", { code, message: textOf(error), error });
}
