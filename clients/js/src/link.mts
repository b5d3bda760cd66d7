import { backoff } from "./pure.mjs";
import type { Timing } from "./options.mjs";
import type { Failure, State, StateChange } from "./types.mjs";

export type Effect =
  | { do: "state"; change: StateChange; wait?: number } // wait: until the next try
  | { do: "try"; gen: number; refresh: boolean; refused: boolean } // open a socket, say hello; refused: the last token was
  | { do: "drop"; polite: boolean } // whatever socket there is; nothing of it counts from here on
  | { do: "ping" };

/**
 * The connection's state machine: fed with what happened and when, says what to do. No I/O, no clock.
 * `gen` numbers the sockets: events of an older one are ignored. `due` is when `tick` wants to be called.
 */
export class Link {
  readonly #timing: Timing;
  readonly #random: () => number;
  #online: boolean;
  state: State = "idle";
  gen = 0;
  due = Infinity;
  /** What is to be done, in order: to be taken out. */
  readonly effects: Effect[] = [];
  failure?: Failure;
  #tries = 0;
  #welcomedAt?: number;
  #pinged = false;
  #refresh = false;
  #refused = false;
  #wait?: number;
  #interval: number;

  constructor(timing: Timing, random: () => number, online: boolean) {
    this.#timing = timing;
    this.#random = random;
    this.#online = online;
    this.#interval = timing.pingInterval ?? 20_000;
  }

  get open(): boolean {
    return this.state === "connecting" || this.welcomed;
  }

  get welcomed(): boolean {
    return this.state === "replaying" || this.state === "live";
  }

  /** Of a client that is waiting: do not wait any longer. */
  connect(now: number): void {
    if (this.open) return;
    if (this.state !== "reconnecting" && this.state !== "offline") {
      this.#tries = 0;
      this.#refresh = this.failure?.code === 4501;
      this.#refused = false;
      this.failure = undefined;
    }
    this.#begin(now);
  }

  close(): void {
    this.#drop(true);
    this.#become("closed");
  }

  network(online: boolean, now: number): void {
    this.#online = online;
    if (online) this.visible(now);
    else if (this.open || this.state === "reconnecting") {
      this.#drop(false);
      this.#become("offline");
    }
  }

  /** Back in sight, or back online: a wait is over. */
  visible(now: number): void {
    if (this.state === "reconnecting" || this.state === "offline") this.#begin(now);
    else this.tick(now);
  }

  /** Any bytes of this connection: it is alive. */
  heard(now: number): void {
    this.#pinged = false;
    if (this.welcomed) this.due = now + this.#interval;
  }

  /** `interval`: the service's ping_interval, ms. */
  welcome(now: number, interval: number): void {
    this.#welcomedAt = now;
    this.#refused = this.#refresh = false;
    this.#interval = this.#timing.pingInterval ?? interval;
    this.#become("replaying");
    this.heard(now);
  }

  live(now: number): void {
    if (this.state !== "replaying") return;
    this.#become("live");
    this.heard(now);
  }

  closing(ms: number): void {
    this.#wait = ms;
  }

  /** Cut it as a bad network would, and come back. */
  cut(now: number): void {
    this.lost(this.gen, 1006, "dropped", now);
  }

  /** `again`: whether another token can be asked for. */
  lost(gen: number, code: number | string, reason: string, now: number, again = false): void {
    if (gen !== this.gen || !this.open) return;
    const welcomedAt = this.#welcomedAt;
    if (welcomedAt !== undefined && now - welcomedAt >= this.#timing.steady) this.#tries = 0;
    this.#drop(false);
    if (code === 4501 && again && !this.#refused) {
      this.#refused = this.#refresh = true;
      this.#begin(now);
    } else if (typeof code === "string" || (code >= 4500 && code <= 4999)) {
      this.failure = { code, reason };
      this.#become("failed", this.failure);
    } else {
      if (code === 4002) this.#refresh = true;
      if (!this.#online || (code === 4002 && welcomedAt !== undefined)) this.#begin(now);
      else this.#backOff(code, reason, now);
    }
  }

  tick(now: number): void {
    if (now < this.due) return;
    if (this.state === "reconnecting") this.#begin(now);
    else if (this.state === "connecting") this.lost(this.gen, 1006, "timeout", now);
    else if (this.#pinged) this.lost(this.gen, 1006, "timeout", now);
    else {
      this.#pinged = true;
      this.due = now + this.#timing.patience;
      this.effects.push({ do: "ping" });
    }
  }

  #begin(now: number): void {
    if (!this.#online) {
      if (this.state !== "offline") this.#become("offline");
      return;
    }
    this.gen++;
    this.#welcomedAt = this.#wait = undefined;
    this.#become("connecting");
    this.due = now + this.#timing.tryTimeout;
    this.effects.push({ do: "try", gen: this.gen, refresh: this.#refresh, refused: this.#refused });
  }

  #backOff(code: number, reason: string, now: number): void {
    const { backoffFirst, backoffMost } = this.#timing;
    const wait = this.#wait ?? backoff(this.#tries++, backoffFirst, backoffMost, this.#random);
    this.#become("reconnecting", { code, reason }, wait);
    this.due = now + wait;
  }

  #drop(polite: boolean): void {
    if (this.open) this.effects.push({ do: "drop", polite });
    this.gen++;
  }

  #become(state: State, more: Partial<StateChange> = {}, wait?: number): void {
    const previous = this.state;
    this.state = state;
    this.#pinged = false;
    this.due = Infinity;
    if (state !== previous) this.effects.push({ do: "state", change: { state, previous, ...more }, wait });
  }
}
