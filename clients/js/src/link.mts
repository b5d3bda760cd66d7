import { backoff } from "./pure.mjs";
import type { Timing } from "./options.mjs";
import type { Failure, State, StateChange } from "./types.mjs";

export type Effect =
  | { do: "state"; change: StateChange; wait?: number } // wait: until the next try
  | { do: "try"; gen: number; refresh: boolean; refused: boolean } // open a socket, say hello; refused: the last token was
  | { do: "drop"; polite: boolean } // whatever socket there is; nothing of it counts from here on
  | { do: "ping" };

/**
 * The connection's state machine: fed with what happened and when, answers what to do. No I/O, no clock.
 * `gen` numbers the sockets: events of an older one are ignored. `due` is when `tick` wants to be called.
 */
export class Link {
  state: State = "idle";
  gen = 0;
  due = Infinity;
  failure?: Failure;
  private tries = 0;
  private welcomedAt?: number;
  private pinged = false;
  private refresh = false;
  private refused = false;
  private wait?: number;
  private interval: number;

  constructor(
    private readonly timing: Timing,
    private readonly random: () => number,
    private online: boolean,
  ) {
    this.interval = timing.pingInterval ?? 20_000;
  }

  get open(): boolean {
    return this.state === "connecting" || this.welcomed;
  }

  get welcomed(): boolean {
    return this.state === "replaying" || this.state === "live";
  }

  /** Of a client that is waiting: do not wait any longer. */
  connect(now: number): Effect[] {
    if (this.open) return [];
    if (this.state !== "reconnecting" && this.state !== "offline") {
      this.tries = 0;
      this.refresh = this.failure?.code === 4501;
      this.refused = false;
      this.failure = undefined;
    }
    return this.begin(now);
  }

  close(): Effect[] {
    if (this.state === "closed") return [];
    return [...this.drop(true), this.become("closed")];
  }

  network(online: boolean, now: number): Effect[] {
    this.online = online;
    if (online) return this.visible(now);
    if (!this.open && this.state !== "reconnecting") return [];
    return [...this.drop(false), this.become("offline")];
  }

  /** Back in sight, or back online: a wait is over. */
  visible(now: number): Effect[] {
    return this.state === "reconnecting" || (this.state === "offline" && this.online) ? this.begin(now) : this.tick(now);
  }

  /** Any bytes of this connection: it is alive. */
  heard(now: number): void {
    this.pinged = false;
    if (this.welcomed) this.due = now + this.interval;
  }

  /** `interval`: the service's ping_interval, ms. */
  welcome(now: number, interval: number): Effect[] {
    this.welcomedAt = now;
    this.refused = this.refresh = false;
    this.interval = this.timing.pingInterval ?? interval;
    const change = this.become("replaying");
    this.heard(now);
    return [change];
  }

  live(now: number): Effect[] {
    if (this.state !== "replaying") return [];
    const change = this.become("live");
    this.heard(now);
    return [change];
  }

  closing(ms: number): void {
    this.wait = ms;
  }

  /** Cut it as a bad network would, and come back. */
  cut(now: number): Effect[] {
    return this.lost(this.gen, 1006, "dropped", now);
  }

  /** `again`: whether another token can be asked for. */
  lost(gen: number, code: number | string, reason: string, now: number, again = false): Effect[] {
    if (gen !== this.gen || !this.open) return [];
    const { welcomedAt } = this;
    if (welcomedAt !== undefined && now - welcomedAt >= this.timing.steady) this.tries = 0;
    if (code === 4501 && again && !this.refused) {
      this.refused = this.refresh = true;
      return [...this.drop(false), ...this.begin(now)];
    }
    if (typeof code === "string" || (code >= 4500 && code <= 4999)) return this.fail(code, reason);
    const effects = this.drop(false);
    if (!this.online) return [...effects, this.become("offline")];
    if (code === 4002) this.refresh = true;
    if (code === 4002 && welcomedAt !== undefined) return [...effects, ...this.begin(now)];
    return [...effects, this.backOff(code, reason, now)];
  }

  /** For good, until `connect` is called again. */
  fail(code: number | string, reason: string): Effect[] {
    const effects = this.drop(false);
    this.failure = { code, reason };
    return [...effects, this.become("failed", { code, reason })];
  }

  tick(now: number): Effect[] {
    if (now < this.due) return [];
    if (this.state === "reconnecting") return this.begin(now);
    if (this.state === "connecting") return this.lost(this.gen, 1006, "no welcome in time", now);
    if (!this.welcomed) return [];
    if (this.pinged) return this.lost(this.gen, 1006, "no answer to a ping", now);
    this.pinged = true;
    this.due = now + this.timing.patience;
    return [{ do: "ping" }];
  }

  private begin(now: number): Effect[] {
    if (!this.online) return this.state === "offline" ? [] : [this.become("offline")];
    this.gen++;
    this.welcomedAt = this.wait = undefined;
    const change = this.become("connecting");
    this.due = now + this.timing.tryTimeout;
    return [change, { do: "try", gen: this.gen, refresh: this.refresh, refused: this.refused }];
  }

  private backOff(code: number | string, reason: string, now: number): Effect {
    const { backoffFirst, backoffMost } = this.timing;
    const wait = this.wait ?? backoff(this.tries++, backoffFirst, backoffMost, this.random);
    const change = this.become("reconnecting", { code, reason }, wait);
    this.due = now + wait;
    return change;
  }

  private drop(polite: boolean): Effect[] {
    const open = this.open;
    this.gen++;
    return open ? [{ do: "drop", polite }] : [];
  }

  private become(state: State, more: Partial<StateChange> = {}, wait?: number): Effect {
    const previous = this.state;
    this.state = state;
    this.pinged = false;
    this.due = Infinity;
    return { do: "state", change: { state, previous, ...more }, wait };
  }
}
