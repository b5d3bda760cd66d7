/** What is shown, made of what is stored: pure functions. A record is one message as one conversation holds it:
 * {peer, identity, id, from, mine, body, ts, ms, seq}; (ms, seq) is its place in the inbox. A row is a conversation:
 * {peer, last, unread, read, delivered, seen, draft}, with places as [ms, seq] or null.
 */

export const NAME = /^[A-Za-z0-9._\-@:+]{1,128}$/;
/** The `seq` of one's own message that is accepted, while its entry in one's own inbox has not come. */
export const PROVISIONAL = Number.MAX_SAFE_INTEGER;

export const placeOf = (cursor) => cursor.split("-").map(Number);
export const placed = (record) => [record.ms, record.seq];
export const compare = (one, other) => one[0] - other[0] || one[1] - other[1];
const reached = (place, mark) => mark != null && compare(place, mark) <= 0;
const furthest = (one, other) => (one == null || compare(one, other) < 0 ? other : one);

export const identityOf = (from, id) => `message/${from}/${id}`;
export const isGroup = (peer) => peer.startsWith("#");
const listed = (to) => (Array.isArray(to) ? to : [to]);

/** The conversations a message belongs to: several, when it went to several. */
export function peersOf(message, me) {
  if (message.group != null) return [`#${message.group}`];
  return message.from === me ? listed(message.to) : [message.from];
}

/** The records of a `message` frame. */
export function recordsOf(message, me) {
  const [ms, seq] = placeOf(message.cursor);
  return peersOf(message, me).map((peer) => record(peer, message, me, message.ts ?? ms, ms, seq));
}

/** The records of one's own message that was accepted just now: it stands where its own copy will. */
export function recordsOfAccepted(item, acceptance, me) {
  const message = { id: item.id, from: me, body: item.body };
  return listed(item.to)
    .filter((peer) => (acceptance.recipients ?? []).some((one) => one.to === peer && one.error == null))
    .map((peer) => record(peer, message, me, acceptance.ts, acceptance.ts, PROVISIONAL));
}

function record(peer, message, me, ts, ms, seq) {
  const { id, from, body } = message;
  return { peer, identity: identityOf(from, id), id, from, mine: from === me, body, ts, ms, seq };
}

/** Whether `record` says more than the stored one of the same identity. */
export const improves = (record, known) => known == null || (known.seq === PROVISIONAL && record.seq !== PROVISIONAL);

/** What to store of a record where `known` is stored: {record, fresh}, or null for nothing. `counts`: it was delivered
 * just now; `fresh`: for the first time, though history may have brought it before, or another tab have taken it.
 */
export function kept(record, known, counts) {
  const fresh = counts && !known?.counted;
  if (!fresh && !improves(record, known)) return null;
  const better = improves(record, known) ? record : known;
  return { record: { ...better, counted: counts || (known?.counted ?? false) }, fresh };
}

export const blankRow = (peer) => ({
  peer, last: null, unread: 0, read: null, delivered: null, seen: null, draft: "",
});

/** The row after a record. `fresh`: it was delivered just now, so it is unread; one from history is not. */
export function advance(row, record, fresh) {
  const newest = row.last == null || row.last.identity === record.identity || compare(placed(row.last), placed(record)) < 0;
  const next = newest ? { ...row, last: record } : { ...row };
  // Whoever answers has read what was before; on whichever device.
  if (record.mine) return newest ? markedRead(next) : next;
  if (fresh && !reached(placed(record), row.read)) next.unread += 1;
  return next;
}

export function markedRead(row) {
  return row.last == null ? row : { ...row, unread: 0, read: furthest(row.read, placed(row.last)) };
}

/** The row after a receipt (`delivered` or `read`) up to the record at `place`. */
export function receipted(row, kind, place) {
  const delivered = furthest(row.delivered, place);
  return kind === "read" ? { ...row, delivered, seen: furthest(row.seen, place) } : { ...row, delivered };
}

/** The last message to a conversation that is not accepted yet; undefined where none waits. */
export const lastWaiting = (outbox, peer) => outbox.findLast((item) => listed(item.to).includes(peer));

/** Conversations, the one with the newest message first; those without one at the end, by name. */
export function sortedRows(rows, outbox = []) {
  const age = (row) => Math.max(row.last?.ts ?? 0, lastWaiting(outbox, row.peer)?.createdAt ?? 0);
  return [...rows].sort((one, other) => age(other) - age(one) || (one.peer < other.peer ? -1 : 1));
}

export const unreadOf = (rows) => rows.reduce((sum, row) => sum + row.unread, 0);
export const titleOf = (unread) => (unread > 0 ? `(${unread}) inboxd` : "inboxd");

/** What a conversation's log shows, from top to bottom. `records` are ascending; `outbox` is in its order.
 *
 * Items: {kind: "day", at}, {kind: "gap", gap}, {kind: "new"}, {kind: "message", …}. Each has a `key`.
 */
export function logItems({ me, row, records, outbox, gaps, newAfter = null, atStart = false }) {
  const known = new Set(records.map((one) => one.identity));
  const messages = [
    ...records.map((one) => shown(one, row)),
    ...outbox.filter((item) => listed(item.to).includes(row.peer))
      .map((item) => waiting(item, me)).filter((one) => !known.has(one.identity)),
  ];
  const from = records.length > 0 && !atStart ? placed(records[0]) : [0, 0];
  const lost = gaps.filter((gap) => compare(gap.place, from) >= 0);
  const items = [];
  for (const one of messages) {
    while (lost.length > 0 && compare(lost[0].place, one.place) < 0) pushGap(items, lost.shift());
    divide(items, one, newAfter);
    items.push(one);
  }
  lost.forEach((gap) => pushGap(items, gap));
  return items;
}

function pushGap(items, gap) {
  items.push({ kind: "gap", key: `gap/${gap.place.join("-")}/${gap.reason}`, gap });
}

function divide(items, message, newAfter) {
  const before = items.findLast((one) => one.kind === "message");
  const today = items.findLast((one) => one.kind === "day");
  const day = new Date(message.ts).setHours(0, 0, 0, 0);
  // Never backwards: what waits may be older than what came since.
  if (today == null || day > today.day) items.push({ kind: "day", key: `day/${day}`, day, at: message.ts });
  const begins = newAfter != null && !message.mine && compare(message.place, newAfter) > 0;
  const divided = begins && !items.some((one) => one.kind === "new");
  if (divided) items.push({ kind: "new", key: "new" });
  const near = items.at(-1) === before && message.ts - before.ts < 5 * 60_000;
  message.follows = near && before.from === message.from;
}

function shown(one, row) {
  const place = placed(one);
  const state = !one.mine ? "received" : reached(place, row.delivered) ? "delivered" : "accepted";
  return {
    kind: "message", key: one.identity, identity: one.identity, id: one.id, from: one.from, mine: one.mine,
    body: one.body, ts: one.ts, place, state, seen: one.mine && reached(place, row.seen), error: null,
  };
}

function waiting(item, me) {
  const state = item.state === "failed" || item.state === "stale" ? item.state : "queued";
  const identity = identityOf(me, item.id);
  return {
    kind: "message", key: identity, identity, id: item.id, from: me, mine: true, body: item.body,
    ts: item.createdAt, place: [Infinity, item.order], state, sending: item.state === "sent", seen: false,
    error: item.error ?? null,
  };
}
