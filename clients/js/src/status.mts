import type { Emitter } from "./emitter.mjs";
import { InboxError } from "./errors.mjs";
import type { Failure, State, StateChange } from "./types.mjs";

interface Goal {
  resolve(): void;
  reject(error: InboxError): void;
}

/** The state as the application sees it, be it of our own connection or of the leader's. */
export class Status {
  readonly #emitter: Emitter;
  state: State = "idle";
  retryAt?: number;
  failure?: Failure;
  /** Between `connect` and `close`. */
  wanted = false;
  #goals: Goal[] = [];

  constructor(emitter: Emitter) {
    this.#emitter = emitter;
  }

  /** False: that is no change. */
  become(change: StateChange): boolean {
    const { state, retryAt, code, reason } = change;
    const previous = this.state;
    if (state === previous && state !== "reconnecting") return false;
    const failed = state === "failed";
    Object.assign(this, { state, retryAt, failure: failed ? { code, reason } : undefined });
    this.#emitter.emit("state", { ...change, previous });
    const settled = failed || state === "closed" || state === "live" ? this.#goals.splice(0) : [];
    for (const { resolve, reject } of settled) {
      if (state === "live") resolve();
      else reject(new InboxError(state, reason, { failure: this.failure }));
    }
    return true;
  }

  /** Resolves when the state is `live`, rejects when it is `failed` or `closed`. */
  live(): Promise<void> {
    if (this.state === "live") return Promise.resolve();
    const live = new Promise<void>((resolve, reject) => this.#goals.push({ resolve, reject }));
    live.catch(() => {}); // whoever does not look is no unhandled rejection
    return live;
  }
}
