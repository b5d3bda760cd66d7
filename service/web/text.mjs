/** Words and numbers as people read them. Everything here ends up in text nodes. */

// Line ends and tabs stay; what else cannot be seen, or turns the letters around, is shown as a replacement character.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202d\u202e]/g;

export const visible = (text) => text.replace(/\r\n?/g, "\n").replace(UNSEEN, "\ufffd");

/** A body as text: its `text`, or else compact JSON. */
export function bodyText(body) {
  const plain = body != null && typeof body === "object" && !Array.isArray(body) && typeof body.text === "string";
  return visible(plain ? body.text : JSON.stringify(body) ?? "");
}

export const isPlain = (body) => typeof body?.text === "string";

/** One line of it, for lists. */
export const snippet = (body) => bodyText(body).replace(/\s+/g, " ").trim().slice(0, 140);

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const YEAR = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });
const SHORT = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export const clock = (ts) => CLOCK.format(ts);

const midnight = (ts) => new Date(ts).setHours(0, 0, 0, 0);
const daysAgo = (ts, now) => Math.round((midnight(now) - midnight(ts)) / 86_400_000);

export function day(ts, now = Date.now()) {
  const ago = daysAgo(ts, now);
  if (ago === 0) return "Today";
  if (ago === 1) return "Yesterday";
  return (new Date(ts).getFullYear() === new Date(now).getFullYear() ? DAY : YEAR).format(ts);
}

/** When, in a list: the time of today's, the day of older ones. */
export const when = (ts, now = Date.now()) => (daysAgo(ts, now) === 0 ? clock(ts) : SHORT.format(ts));

export const count = (number, one, many) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

/** A message's state: what is drawn, and what is read out. */
export const STATES = {
  queued: ["◷", "waiting to be sent"],
  sent: ["◷", "on its way"],
  accepted: ["✓", "accepted"],
  delivered: ["✓✓", "delivered"],
  seen: ["✓✓", "read"],
  failed: ["!", "not sent"],
  stale: ["?", "perhaps sent"],
};

export const CONNECTION = {
  idle: "Not connected",
  connecting: "Connecting…",
  replaying: "Catching up…",
  live: "Connected",
  reconnecting: "Connection lost",
  offline: "Offline",
  closed: "Disconnected",
  failed: "Stopped",
};

/** How far a group's message came, of {of, delivered, read}. */
export function groupStateText({ of, delivered, read }) {
  if (read > 0) return `read by ${read} of ${of}`;
  return delivered > 0 ? `delivered to ${delivered} of ${of}` : "accepted";
}

const several = (names) => (names.length > 2 ? `${names.length} people` : names.join(" and "));

/** Who is typing; empty for nobody. */
export const typingText = (names) => (names.length === 0 ? "" : `${several(names)} ${names.length === 1 ? "is" : "are"} typing…`);

/** Of {status, lastSeen}; empty where nothing is known. */
export function presenceText(presence, now = Date.now()) {
  if (presence?.status === "online") return "online";
  if (presence?.lastSeen == null) return presence ? "offline" : "";
  const { lastSeen } = presence;
  return daysAgo(lastSeen, now) === 0 ? `last seen at ${clock(lastSeen)}` : `last seen on ${SHORT.format(lastSeen)}`;
}

/** One line of what happened to a group; `me`: the reader. */
export function eventText({ event, user, by, name }, me) {
  const [who, whom] = [by === me ? "You" : by, user === me ? "you" : user];
  const named = name ? ` “${visible(String(name))}”` : "";
  if (event === "joined") return user === by ? `${who} joined` : `${who} added ${whom}`;
  if (event === "left") return user === by ? `${who} left` : `${who} removed ${whom}`;
  const called = `called the group${named || " nothing"}`;
  const happened = { created: `created the group${named}`, renamed: called, deleted: "deleted the group" };
  return `${who} ${known(happened, event) ?? visible(String(event))}`;
}

const REASONS = {
  inbox_full: "their inbox is full",
  refused: "they do not take messages from you",
  too_large: "it is too long",
  expired: "it was no longer wanted when there was a connection",
  id_reused: "its number was used for another message",
  invalid_field: "the service does not take it like this",
  forbidden: "this is not allowed to you",
  no_such_message: "the message is not there any more",
  no_such_group: "there is no such group, or you are not in it",
  group_full: "the group is full",
  unreachable: "there is no connection",
  unavailable: "the service cannot do it now",
};

const known = (table, key) => (Object.hasOwn(table, key) ? table[key] : undefined);

export const refusal = (error) =>
  known(REASONS, error?.code) ?? visible(String(error?.message ?? error?.code ?? "refused"));

const CLOSED = {
  4501: "the service does not know who you are",
  4503: "this is not allowed to you",
  4509: "this device is connected somewhere else",
  4510: "an operator closed it",
};

export const closeReason = ({ code, reason } = {}) =>
  known(CLOSED, code) ?? visible(String(reason || (code ? `code ${code}` : "no token")));

const LOST = { trimmed: "no longer kept", expired: "expired", deleted: "deleted" };

/** What a gap says. `gap.missing`: a number, or null when nobody knows. */
export function gapText({ missing, reason }) {
  if (reason === "rewound") return "The server lost a part of its history here. Messages may be missing.";
  const lost = missing == null ? "Some messages" : count(missing, "message", "messages");
  const why = known(LOST, reason) ?? "not there any more";
  return `${lost} of your inbox ${missing === 1 ? "is" : "are"} missing here: ${why}`;
}

/** Where things are kept: `storage` is the client's (outbox, cursor), or null; `durable` the page's (messages, drafts). */
export function keptText(storage, durable) {
  const kinds = { indexeddb: "IndexedDB", localstorage: "localStorage" };
  const kind = storage == null ? null : known(kinds, storage.kind) ?? visible(String(storage.kind));
  if (storage?.durable === false) return "Kept in memory only: what is unsent goes with this page";
  if (!durable) return "Messages are kept in memory only, and loaded again each time";
  return kind ? `Kept in this browser (${kind})` : "Kept in this browser";
}

export function retryText(retryAt, now = Date.now()) {
  const seconds = Math.ceil((retryAt - now) / 1000);
  return seconds > 0 ? `next try in ${seconds} s` : "trying now";
}

/** A colour's number for a name, 0 to 7. */
export function hueOf(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) >>> 0;
  return sum % 8;
}

export const initials = (name) => name.replace(/[^A-Za-z0-9]/g, "").slice(0, 2).toUpperCase() || "·";
