import { Alarm } from "./clock.mjs";
import { type Core, report } from "./core.mjs";
import { type Effect, Link } from "./link.mjs";
import { claimsOf, textOf } from "./pure.mjs";
import type { Options, Socket } from "./options.mjs";
import type { Frame, StateChange, Welcome } from "./types.mjs";

const OPEN = 1; // a socket's `readyState`

export interface ConnectionHooks {
  state(change: StateChange): void;
  /** Raises the attempt and stores it; answers what `hello` says besides the token. */
  hello(): Promise<Record<string, unknown>>;
  /** Whose inbox this must be, where it is known. */
  user(): string | undefined;
  welcome(frame: Welcome, gen: number): void;
  frame(frame: Frame): void;
  lost(): void;
}

/** The socket, its token and its timers, as `Link` decides. */
export class Connection {
  readonly #core: Core;
  readonly #options: Options;
  readonly #url: string;
  readonly #hooks: ConnectionHooks;
  readonly link: Link;
  #socket?: Socket;
  #token?: string;
  readonly #alarm: Alarm;
  readonly #tokenAlarm: Alarm;

  constructor(core: Core, options: Options, url: string, hooks: ConnectionHooks) {
    this.#core = core;
    this.#options = options;
    this.#url = url;
    this.#hooks = hooks;
    this.link = new Link(core.timing, core.random, true);
    this.#alarm = new Alarm(core.clock, () => this.when((link, now) => link.tick(now)));
    this.#tokenAlarm = new Alarm(core.clock, () => void this.#renew());
  }

  /** Something happened: the machine decides, and that is done. */
  when(what: (link: Link, now: number) => void): void {
    what(this.link, this.#now);
    for (let effect; (effect = this.link.effects.shift());) this.#do(effect);
    this.#alarm.at(this.link.due);
  }

  /** False: there is no connection to write to. */
  write(frame: string | Frame): boolean {
    if (!this.link.welcomed) return false;
    return this.#put(frame);
  }

  get #now(): number {
    return this.#core.clock.now();
  }

  #put(frame: string | Frame): boolean {
    const socket = this.#socket;
    if (socket?.readyState !== OPEN) return false; // it is closing: `onclose` follows, and browsers complain of writes
    socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
    return true;
  }

  #do(effect: Effect): void {
    if (effect.do === "drop") this.#drop(effect.polite);
    else if (effect.do === "try") void this.#try(effect.gen, effect.refresh, effect.refused);
    else if (effect.do === "ping") this.write({ type: "ping" });
    else {
      const { change, wait } = effect;
      this.#hooks.state(
        wait === undefined ? change : { ...change, retryAt: Math.round(this.#core.clock.wall() + wait) },
      );
    }
  }

  #lost(gen: number, code: number | string, reason: string): void {
    this.when((link, now) => link.lost(gen, code, reason, now, !!this.#options.getToken));
  }

  async #try(gen: number, refresh: boolean, refused: boolean): Promise<void> {
    const current = (): boolean => gen === this.link.gen;
    try {
      const token = await this.#fetch(refresh);
      if (!current()) return;
      if (token === null) return this.#lost(gen, "no_token", "no token");
      if (refused && token === this.#token) return this.#lost(gen, 4501, "refused");
      this.#token = token;
      if (this.#stranger(token && claimsOf(token).sub)) return this.#lost(gen, "other_user", "of the token");
      const hello = await this.#hooks.hello();
      if (current()) this.#open(gen, JSON.stringify({ type: "hello", ...hello, token }));
    } catch (error) {
      if (!current()) return;
      report(this.#core, "connect_failed", error);
      this.#lost(gen, 1006, textOf(error)); // by and by: a token's issuer may be away like any other server
    }
  }

  /** Undefined: none is needed. Null: one is, and cannot be had. */
  async #fetch(refresh: boolean): Promise<string | undefined | null> {
    const { getToken } = this.#options;
    return getToken && ((await getToken({ refresh })) || null);
  }

  #stranger(user: string | undefined): boolean {
    const mine = this.#hooks.user();
    return !!user && !!mine && user !== mine;
  }

  #open(gen: number, hello: string): void {
    const Socket = this.#options.WebSocket ?? (globalThis.WebSocket as new (url: string) => Socket);
    if (!Socket) return this.#lost(gen, "no_websocket", "no WebSocket");
    const socket = (this.#socket = new Socket(this.#url));
    const current = (): boolean => gen === this.link.gen;
    socket.onopen = () => current() && void this.#put(hello);
    socket.onmessage = ({ data }: { data: unknown }) => current() && this.#heard(gen, data);
    socket.onclose = ({ code = 1006, reason = "" }) => this.#lost(gen, code, String(reason));
    socket.onerror = () => {}; // `onclose` follows, and says more
  }

  /** Nothing of it counts any more, and nobody waits for it. */
  #drop(polite: boolean): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#tokenAlarm.at(Infinity);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {}; // `ws` throws where nobody listens
      if (!polite && socket.terminate) socket.terminate();
      else socket.close(1000);
    }
    this.#hooks.lost();
  }

  #heard(gen: number, data: unknown): void {
    this.when((link, now) => link.heard(now));
    for (const line of String(data).split("\n")) {
      if (gen !== this.link.gen) return; // a handler closed it
      if (!line.trim()) continue;
      try {
        this.#frame(gen, JSON.parse(line));
      } catch (error) {
        report(this.#core, "malformed_frame", error);
        return this.#lost(gen, 1006, "malformed"); // what it was may come again; an ack of the next would cover it
      }
    }
  }

  #frame(gen: number, frame: Frame): void {
    const { type } = frame;
    if (type === "welcome") this.#welcome(gen, frame as Welcome);
    else if (type === "closing") this.link.closing(frame["reconnect_after_ms"]);
    else if (type === "live") {
      this.when((link, now) => link.live(now));
      this.#hooks.frame(frame);
    } else if (this.link.welcomed || type === "error") this.#hooks.frame(frame);
  }

  #welcome(gen: number, frame: Welcome): void {
    if (this.link.welcomed) return;
    if (this.#stranger(frame.user)) return this.#lost(gen, "other_user", frame.user);
    this.when((link, now) => {
      link.welcome(now, frame.ping_interval * 1000);
      this.#hooks.welcome(frame, gen);
    });
    this.#expect();
  }

  /** Another token is due at 80 % of the life that this one has left. */
  #expect(): void {
    const { exp } = this.#token ? claimsOf(this.#token) : {};
    const left = exp === undefined ? 0 : exp * 1000 - this.#core.clock.wall();
    if (left > 0) this.#tokenAlarm.at(this.#now + Math.max(left * 0.8, 1000));
  }

  async #renew(): Promise<void> {
    const { gen } = this.link;
    try {
      const token = await this.#fetch(true);
      if (gen !== this.link.gen) return;
      if (token && token !== this.#token) {
        this.#token = token;
        this.write({ type: "auth", token });
      }
    } catch (error) {
      report(this.#core, "token_failed", error);
    }
    if (gen === this.link.gen) this.#expect();
  }
}
