/** The public vocabulary: what a user of the client reads and writes. Times are milliseconds. */

export type State = "idle" | "connecting" | "replaying" | "live" | "reconnecting" | "offline" | "closed" | "failed";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Anything with a `cursor`. Further fields depend on `type`; see docs/protocol.md. */
export interface Entry {
  type: string;
  cursor: string;
  id?: string;
  from?: string;
  by?: string;
  ts?: number;
  /** True when it was read from the inbox rather than sent as it came. */
  replay?: boolean;
  [field: string]: unknown;
}

export interface Message extends Entry {
  type: "message";
  id: string;
  from: string;
  to?: string | string[];
  group?: string;
  seq?: number;
  body: any;
  ts: number;
}

/** What can be edited, deleted, reacted to, read: a message as it came, or as much of it as is known. */
export interface MessageRef {
  id: string;
  /** Absent: oneself. */
  from?: string;
  to?: string | string[];
  group?: string;
  seq?: number;
  cursor?: string;
}

/** `edit`, `delete`, `react`: what became of the message `target` of `target_from`. */
export interface Amendment extends Entry {
  type: "edit" | "delete" | "react";
  id: string;
  target: string;
  target_from: string;
  from: string;
  to?: string | string[];
  group?: string;
  seq?: number;
  /** Not of `delete`. `null` takes a reaction back. */
  body?: any;
  ts: number;
}

/** Stands where an erased message was; `id` is that message's. */
export interface Deleted extends Entry {
  type: "deleted";
  id: string;
  from: string;
  to?: string | string[];
  group?: string;
  seq?: number;
  ts: number;
}

export interface GroupEvent extends Entry {
  type: "group";
  id: string;
  group: string;
  seq: number;
  event: "created" | "joined" | "left" | "renamed" | "deleted";
  user: string;
  by: string;
  name?: string;
  ts: number;
}

/** The user has read a conversation so far, on some device. Of a group `upto` is the number in it. */
export interface Read extends Entry {
  type: "read";
  id: string;
  from?: string;
  group?: string;
  upto: string | number;
  ts: number;
}

export interface Presence {
  type: "presence";
  user: string;
  status: "online" | "offline";
  last_seen: number | null;
}

export interface Signal {
  type: "signal";
  from: string;
  to?: string | string[];
  group?: string;
  body: any;
  ts: number;
}

/** Entries after `after`, up to and including `cursor`, will not come. */
export interface Gap extends Entry {
  type: "gap";
  after: string;
  missing: number | null;
  reason: "trimmed" | "expired" | "deleted" | "rewound";
}

export interface Receipt extends Entry {
  type: "receipt";
  target: string;
  kind: "delivered" | "read";
  by: string;
  ts: number;
}

export interface Recipient {
  to: string;
  cursor?: string;
  error?: string;
  duplicate?: boolean;
}

/** The service's answer to a send: the message is in the inboxes of those recipients that have a cursor. */
export interface Acceptance {
  id: string;
  ts: number;
  duplicate: boolean;
  /** Absent where the own copy of the message was the answer. */
  durability?: string;
  recipients?: Recipient[];
  group?: string;
  seq?: number;
  members?: number;
  /** Members whose inbox was full. */
  refused?: number;
}

export interface Limits {
  max_body?: number;
  max_frame?: number;
  max_pending?: number;
  /** Seconds for which the service knows a message's id. */
  dedupe_window?: number;
}

export interface Welcome {
  type: "welcome";
  user: string;
  device: string;
  session: string;
  worker: string;
  cursor: string;
  head: string;
  pending: number;
  window: number;
  limits: Limits;
  server: string;
  /** Seconds. */
  ping_interval: number;
}

/** Whatever else the service sends; see docs/protocol.md. */
export interface Frame {
  type: string;
  [field: string]: any;
}

export type OutboxState = "queued" | "sent" | "failed" | "stale";

/** What the service is given, by the wire's names, and what became of it. */
export interface OutboxItem {
  /** Absent: a message. */
  type?: "edit" | "delete" | "react";
  id: string;
  to?: string | string[];
  group?: string;
  target?: string;
  /** Of a reaction to what another wrote. */
  target_from?: string;
  body?: any;
  receipts?: boolean;
  /** Seconds, counted from `createdAt`. */
  expiresIn?: number;
  order: number;
  createdAt: number;
  /** When it was first tried, or null. */
  triedAt: number | null;
  state: OutboxState;
  error?: { code: string; message: string };
}

/** How far a conversation was read; kept until the inbox says that the service knows. */
export interface ReadItem {
  type: "read";
  /** The identity of the entry that would confirm it: no id of a message. */
  id: string;
  from?: string;
  group?: string;
  upto: string | number;
  /** Of the message, where it is known. */
  cursor: string;
  order: 0;
}

export interface ChangeOptions {
  /** 1 to 64 characters of `A-Z a-z 0-9 . _ - @ : +`; absent: a UUIDv7. */
  id?: string;
}

export interface SendOptions extends ChangeOptions {
  /** Seconds after which the message is of no use. */
  expiresIn?: number;
  /** False: the sender does not want to know when it was delivered and read. */
  receipts?: boolean;
}

/** `before` or `after` a cursor, not both; `with` a user or of a `group`, or everything. */
export interface HistoryQuery {
  with?: string;
  group?: string;
  before?: string;
  after?: string;
  limit?: number;
}

/** Newest first; with `after`: oldest first. */
export interface HistoryPage {
  entries: Entry[];
  more: boolean;
}

export interface StateChange {
  state: State;
  previous: State;
  /** While `reconnecting`: when the next try is made (as of `Date.now()`). */
  retryAt?: number;
  code?: number | string;
  reason?: string;
}

export interface Failure {
  code: number | string;
  reason: string;
}

export interface Stats {
  /** Entries that came again and were not handed over. */
  repeats: number;
  /** Entries handled, gaps and repeats not counted. */
  received: number;
  /** Sends that were accepted. */
  sent: number;
  gaps: number;
  /** Connections that reached `welcome`. */
  connections: number;
  /** `pending` of the last `welcome`. */
  lastPending: number;
}

export interface StorageInfo {
  kind: string;
  /** False: what is sent or received does not outlive this page. */
  durable: boolean;
  /** Why it is not what was asked for, or not the best. */
  why?: string;
}

export interface ErrorEvent {
  code: string;
  message?: string;
  error?: unknown;
  entry?: Entry;
  id?: string;
}

/** Event name → what its handlers get. Those of entries may be async: the ack waits for them. */
export interface Events {
  message: Message;
  gap: Gap;
  receipt: Receipt;
  read: Read;
  edit: Amendment;
  delete: Amendment;
  react: Amendment;
  deleted: Deleted;
  group: GroupEvent;
  /** Entries of a type that nobody listens to, messages excepted. */
  entry: Entry;
  state: StateChange;
  welcome: Welcome;
  live: Frame;
  presence: Presence;
  signal: Signal;
  broadcast: Frame;
  accepted: { id: string; acceptance: Acceptance };
  failed: { id: string; code: string; message: string };
  stale: { id: string };
  /** Something in the outbox changed. */
  outbox: Record<string, never>;
  storage: StorageInfo;
  /** Whether this tab is the one with the connection. */
  leader: { leader: boolean };
  error: ErrorEvent;
}

export type Handler<T> = (event: T) => unknown;
