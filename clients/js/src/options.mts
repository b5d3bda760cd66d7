import type { Clock } from "./clock.mjs";
import type { Storage } from "./storage/storage.mjs";

/** What the client needs of a WebSocket; the browser's, Node's and that of `ws` have it. */
export interface Socket {
  /** 1: open. */
  readonly readyState: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  /** Only `ws` has it: cuts the connection without waiting for the peer. */
  terminate?(): void;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
}

/** `onLine` and the events `online`, `offline`, `visible`. */
export interface Network {
  readonly onLine: boolean;
  addEventListener(type: string, listener: () => void): void;
  removeEventListener(type: string, listener: () => void): void;
}

/** The part of `navigator.locks` that is used. */
export interface Locks {
  request(name: string, options: { signal?: AbortSignal }, held: () => Promise<void>): Promise<unknown>;
}

/** The part of a `BroadcastChannel` that is used. */
export interface Channel {
  postMessage(data: unknown): void;
  onmessage: ((event: any) => void) | null;
  close(): void;
}

export interface Options {
  /** `http(s)://host[/base]` of the service. */
  url: string;
  /** Whose inbox. Needed without `getToken`; with it, recommended (it keeps two users of one browser apart). */
  user?: string;
  /** This installation's name; absent: one is minted and stored. */
  device?: string;
  /** A JWT. `refresh`: the one given before will not do any more. Nothing (null, ""): the client gives up. */
  getToken?: (ask: { refresh: boolean }) => Promise<string | null | undefined> | string | null | undefined;
  /** Absent: the best that works, in this order. */
  storage?: "indexeddb" | "localstorage" | "memory" | Storage;
  WebSocket?: new (url: string) => Socket;
  network?: Network;
  /** Entries in flight at most, 1 to 1024; the service's default is 256. */
  window?: number;
  /** Whether tabs share one connection where they can; default true. */
  tabs?: boolean;
  locks?: Locks;
  channel?: (name: string) => Channel;
  /** Items in the outbox at most; default 10,000. */
  maxOutbox?: number;
  /** How long an ack may wait for company; default 20 ms. */
  ackDelay?: number;
  /** Silence after which the connection is tested (ms); default: what the service says. */
  pingInterval?: number;
  /** How long the answer to that may take; default 10,000 ms. */
  patience?: number;
  /** How long a try may take until `welcome`; default 10,000 ms. */
  tryTimeout?: number;
  /** Back-off: random(0 … min(backoffMost, backoffFirst · 2^n)); default 500 and 20,000 ms. */
  backoffFirst?: number;
  backoffMost?: number;
  /** A connection that lasted so long starts the back-off anew; default 5,000 ms. */
  steady?: number;
  /** For tests. */
  clock?: Clock;
  random?: () => number;
}

export interface Timing {
  ackDelay: number;
  pingInterval?: number;
  patience: number;
  tryTimeout: number;
  backoffFirst: number;
  backoffMost: number;
  steady: number;
}

const USUAL = {
  ackDelay: 20,
  patience: 10_000,
  tryTimeout: 10_000,
  backoffFirst: 500,
  backoffMost: 20_000,
  steady: 5_000,
};

/** What was given, and the rest as usual. */
export function timing(options: Options): Timing {
  return { ...USUAL, ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) };
}
