/** `inboxd-client/http`: what is asked of the service and not of the inbox. One request each; nothing is kept, nothing tried again. */
import { InboxError } from "./errors.mjs";
import type { Options } from "./options.mjs";
import type { Frame, Presence } from "./types.mjs";

/** Those of the client will do. */
export interface HttpOptions extends Pick<Options, "url" | "user" | "getToken"> {
  /** For tests. */
  fetch?: typeof fetch;
}

export interface Conversation {
  with?: string;
  group?: string;
  last: Frame;
  unread: number;
  /** A message's id; of a group a number in it. */
  read_upto: string | number | null;
}

export interface Group {
  group: string;
  name: string | null;
  owner: string;
  members: string[];
  created_at: number;
}

export interface GroupSummary {
  group: string;
  name: string | null;
  owner: string;
  /** How many. */
  members: number;
}

export interface Place {
  seq: number;
  at: number;
}

export interface GroupMark {
  user: string;
  delivered: Place | null;
  read: Place | null;
}

export interface Fate {
  id: string;
  from: string;
  recipients: {
    to: string;
    cursor: string;
    state: "pending" | "delivered" | "read" | "expired" | "trimmed";
    accepted_at: number;
    delivered_at: number | null;
    read_at: number | null;
    devices: string[];
  }[];
}

/** `code` of docs/protocol.md; besides `no_token`, `unreachable` (no answer), `malformed` (not this service's). */
export class HttpError extends InboxError {
  /** 0: there was no answer. */
  readonly status: number;
  /** The field at fault. */
  readonly field?: string;
  /** Seconds after which it may be tried again. */
  readonly retryAfter?: number;

  constructor(code: string, message: string | undefined, status: number, more: Partial<HttpError> = {}) {
    super(code, message, { cause: more.cause });
    this.name = "HttpError";
    this.status = status;
    this.field = more.field;
    this.retryAfter = more.retryAfter;
  }
}

const MOST = 200; // users in one question

export class InboxHttp {
  readonly #options: HttpOptions;
  readonly #base: string;
  #token?: Promise<string>;

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#base = new URL(options.url).href.replace(/^ws/, "http").replace(/\/+$/, "");
  }

  /** Newest first. */
  async conversations(): Promise<Conversation[]> {
    return (await this.request("GET", "conversations")).conversations;
  }

  /** What became of a message: of oneself, unless `from` is given; in all inboxes, unless `to` is. */
  fate(id: string, { from, to }: { from?: string; to?: string } = {}): Promise<Fate> {
    return this.request("GET", `messages/${of(id)}${query({ from, to })}`);
  }

  /** One's own. */
  async groups(): Promise<GroupSummary[]> {
    return (await this.request("GET", "groups")).groups;
  }

  group(group: string): Promise<Group> {
    return this.request("GET", `groups/${of(group)}`);
  }

  /** Makes it, or gives it these members and this name. */
  putGroup(group: string, { members, name }: { members: string[]; name?: string }): Promise<Group> {
    return this.request("PUT", `groups/${of(group)}`, { members, name });
  }

  deleteGroup(group: string): Promise<void> {
    return this.request("DELETE", `groups/${of(group)}`);
  }

  addMember(group: string, user: string): Promise<void> {
    return this.request("PUT", `groups/${of(group)}/members/${of(user)}`);
  }

  /** Also oneself: that is leaving. */
  removeMember(group: string, user: string): Promise<void> {
    return this.request("DELETE", `groups/${of(group)}/members/${of(user)}`);
  }

  /** How far each member has received and read. */
  async marks(group: string): Promise<GroupMark[]> {
    return (await this.request("GET", `groups/${of(group)}/marks`)).marks;
  }

  /** Of any number of users, in their order. */
  async presence(users: string[]): Promise<Omit<Presence, "type">[]> {
    const found: Omit<Presence, "type">[] = [];
    for (let at = 0; at < users.length; at += MOST) {
      const asked = users.slice(at, at + MOST).map((user) => `user=${of(user)}`);
      found.push(...(await this.request("GET", `presence?${asked.join("&")}`)).presence);
    }
    return found;
  }

  block(user: string): Promise<void> {
    return this.request("PUT", `blocks/${of(user)}`);
  }

  unblock(user: string): Promise<void> {
    return this.request("DELETE", `blocks/${of(user)}`);
  }

  async blocks(): Promise<string[]> {
    return (await this.request("GET", "blocks")).blocks;
  }

  /** Anything else below `/v1/`. Resolves with the JSON of the answer, or undefined; rejects with an `HttpError`. */
  async request(method: string, path: string, body?: unknown): Promise<any> {
    const { getToken } = this.#options;
    this.#token ??= getToken && this.#fetch(false);
    const token = this.#token;
    const answer = await this.#ask(method, path, body, await token);
    if (answer.status !== 401 || !getToken) return read(answer);
    if (this.#token === token) this.#token = this.#fetch(true); // else another request has asked for a fresh one
    return read(await this.#ask(method, path, body, await this.#token));
  }

  #fetch(refresh: boolean): Promise<string> {
    const fetched = (async () => {
      const token = await this.#options.getToken!({ refresh });
      if (!token) throw new HttpError("no_token", undefined, 0);
      return token;
    })();
    fetched.catch(() => this.#token === fetched && (this.#token = undefined)); // it may be had another time
    return fetched;
  }

  async #ask(method: string, path: string, body: unknown, token?: string): Promise<Response> {
    const { user, fetch: ask = fetch } = this.#options;
    const headers: Record<string, string> = {};
    if (token) headers["Authorization"] = `Bearer ${token}`;
    else if (user) headers["X-Inboxd-User"] = user;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const json = body === undefined ? undefined : JSON.stringify(body);
    try {
      return await ask(`${this.#base}/v1/${path}`, { method, headers, body: json, cache: "no-store" });
    } catch (cause) {
      throw new HttpError("unreachable", String(cause), 0, { cause });
    }
  }
}

const of = encodeURIComponent;

function query(fields: Record<string, string | undefined>): string {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined) as [string, string][];
  return given.length ? `?${given.map(([name, value]) => `${name}=${of(value)}`).join("&")}` : "";
}

async function read(answer: Response): Promise<any> {
  const text = await answer.text();
  let json: any;
  try {
    json = text ? JSON.parse(text) : undefined;
  } catch (cause) {
    throw new HttpError("malformed", undefined, answer.status, { cause });
  }
  if (answer.ok) return json;
  const after = Number(answer.headers.get("Retry-After") ?? NaN);
  const { code = "malformed", detail, title, field } = json ?? {};
  throw new HttpError(code, detail ?? title, answer.status, { field, retryAfter: after >= 0 ? after : undefined });
}
