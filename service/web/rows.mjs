/** Conversations, as the list shows them and the store keeps them: pure functions. A row is {peer, last, unread, read, told,
 * delivered, seen, owed, countedTo, draft, blocked}, with places as [ms, seq] or null; `told`: up to there the service was told
 * that it is read; `owed`: receipts and reads whose message is not stored yet; `countedTo`: up to there the service has
 * counted what is unread. Of a group also {name, member, group, marks, readN}.
 */

import { compare, furthest, groupOf, isGroup, isLine, peersOf, placed, reached } from "./model.mjs";

const MOST_OWED = 64;

const BLANK = {
  last: null, unread: 0, read: null, told: null, delivered: null, seen: null, owed: [], countedTo: null, draft: "", blocked: false,
  name: null, member: null, group: null, marks: {}, readN: 0,
};

/** A conversation's row; `stored` may be of an older version of the page. */
export const rowOf = (peer, stored = {}) => ({ ...BLANK, peer, ...stored });
export const blankRow = (peer) => rowOf(peer);

/** The row after a record was stored, where `known` was before. `fresh`: it was delivered just now, so it is unread; one from
 * history is not.
 */
export function advance(row, record, fresh, known = null) {
  if (!isLine(record)) return row;
  const newest = row.last == null || row.last.identity === record.identity || compare(placed(row.last), placed(record)) < 0;
  const next = settled(newest ? { ...row, last: record } : row, record, known);
  if (record.kind === "event") return grouped(next, record);
  // Whoever answers has read what was before; on whichever device.
  if (record.mine) return newest ? markedRead(next) : next;
  return { ...next, unread: Math.max(0, next.unread + news(row, record, fresh, known)) };
}

// By how much the unread ones change: what was deleted has not to be read any more.
function news(row, record, fresh, known) {
  if (reached(placed(record), row.read) || record.n <= row.readN) return 0;
  const told = reached(placed(record), row.countedTo);
  if (record.erased) return isLine(known) && !known.erased && (known.counted || told) ? -1 : 0;
  return fresh && !told ? 1 : 0;
}

/** The row with what the service counted: `unread` messages up to `last`, whether they have come by now or not. `later`: the
 * stored records after it.
 */
export function recounted(row, unread, last, later) {
  const place = placed(last);
  const read = reached(place, row.read) || last.n <= row.readN;
  if (read || (row.countedTo != null && compare(place, row.countedTo) < 0)) return row; // it is late
  const more = later.filter((one) => one.counted && isUnread(one) && !(one.n <= row.readN)).length;
  return { ...row, unread: unread + more, countedTo: place };
}

/** Whether a record is to be read, where it was not yet. */
export const isUnread = (record) => record.kind !== "event" && !record.mine && !record.erased;

export const markedRead = (row) => (row.last == null ? row : readTo(row, placed(row.last), 0));

/** The row when all up to a place is read; `left`: messages after it. */
export const readTo = (row, place, left) => ({ ...row, unread: left, read: furthest(row.read, place) });

/** The row when all up to a place is read here, and the service was told; the records of `later` that count from now on. What
 * the service had counted and has not come yet counts when it comes.
 */
export function readHere(row, place, later) {
  const left = later.filter((one) => isUnread(one) && !reached(placed(one), row.read));
  const told = furthest(row.told, place);
  return { row: { ...readTo(row, place, left.length), told, countedTo: null }, counted: left.filter((one) => !one.counted) };
}

/** The row after a receipt (`delivered` or `read`) up to the record at `place`. */
export function receipted(row, kind, place) {
  const delivered = furthest(row.delivered, place);
  return kind === "read" ? { ...row, delivered, seen: furthest(row.seen, place) } : { ...row, delivered };
}

/** The row that has to be told something of a record that is not stored. `kind`: `delivered`, `read` or `own`. */
export function owing(row, kind, identity) {
  const others = row.owed.filter((one) => one.kind !== kind || one.identity !== identity);
  return { ...row, owed: [...others, { kind, identity }].slice(-MOST_OWED) };
}

// What was told of this record before it came; and what was told of the place that it gives up.
function settled(row, record, known) {
  const place = placed(record);
  const own = row.owed.filter((one) => one.identity === record.identity);
  const moved = (mark) => (isLine(known) && mark != null && compare(mark, placed(known)) === 0 ? place : mark);
  const base = { ...row, delivered: moved(row.delivered), seen: moved(row.seen), owed: row.owed.filter((one) => !own.includes(one)) };
  return own.reduce((next, { kind }) => (kind === "own" ? readTo(next, place, next.unread) : receipted(next, kind, place)), base);
}

// What a group is called, and whether one is in it, by the newest event; they may come in any order.
function grouped(row, { event, self, name, ms, seq }) {
  const at = [ms, seq];
  const next = { ...row };
  if (name != null && !reached(at, row.name?.at)) next.name = { at, text: name };
  const out = event === "deleted" || (event === "left" && self);
  const within = event === "created" || (event === "joined" && self);
  if ((out || within) && !reached(at, row.member?.at)) next.member = { at, in: within };
  return next;
}

/** The row with what the service says of its group: {name, owner, members}. */
export function described(row, { name, owner, members }) {
  const named = name == null ? row.name : { at: row.name?.at ?? [0, 0], text: name };
  return { ...row, group: { owner, members }, name: named };
}

/** The row with marks as the service lists them: [{user, delivered: {seq}, read: {seq}}]; they never go back. */
export function marked(row, marks) {
  const known = row.marks;
  const one = ({ user, delivered, read }) => [user, {
    delivered: Math.max(known[user]?.delivered ?? 0, delivered?.seq ?? 0, read?.seq ?? 0),
    read: Math.max(known[user]?.read ?? 0, read?.seq ?? 0),
  }];
  return { ...row, marks: Object.fromEntries(marks.map(one)) };
}

/** How far a group's message came: {of, delivered, read}, counts of the other members; null where nobody knows. */
export function reachedBy(row, n, me) {
  const others = Object.entries(row.marks).filter(([user]) => user !== me).map(([, mark]) => mark);
  if (n == null || others.length === 0) return null;
  const count = (what) => others.filter((mark) => mark[what] >= n).length;
  return { of: others.length, delivered: count("delivered"), read: count("read") };
}

export const nameOf = (row) => row.name?.text || (isGroup(row.peer) ? groupOf(row.peer) : row.peer);
/** Whether one may write there: to anybody, and to groups that one has not left. */
export const mayWrite = (row) => row.member?.in ?? true;

/** The last message to a conversation that is not accepted yet; undefined where none waits. */
export const lastWaiting = (outbox, peer, me) =>
  outbox.findLast((item) => item.target == null && peersOf({ ...item, from: me }, me).includes(peer));

/** Conversations, the one with the newest message first; those without one at the end, by name. */
export function sortedRows(rows, outbox = [], me = null) {
  const age = (row) => Math.max(row.last?.ts ?? 0, lastWaiting(outbox, row.peer, me)?.createdAt ?? 0);
  return [...rows].sort((one, other) => age(other) - age(one) || (one.peer < other.peer ? -1 : 1));
}

export const unreadOf = (rows) => rows.reduce((sum, row) => sum + row.unread, 0);
export const titleOf = (unread) => (unread > 0 ? `(${unread}) inboxd` : "inboxd");
