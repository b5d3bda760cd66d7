/** What is stored, made of what comes: pure functions. A record is one line of one conversation's log:
 * {peer, identity, kind: "message" | "event", id, from, mine, body, ts, ms, seq, n}; (ms, seq) is its place in the inbox, n its
 * number in a group. What was done to a message is part of its record: {edit, erased, reacts}. That may come first: until the
 * message does, the record has no place, and is no line.
 *
 * Two records of one identity are joined; in whichever order, however often, the same comes of it.
 */

export const NAME = /^[A-Za-z0-9._\-@:+]{1,128}$/;
/** The `seq` of one's own message that is accepted, while its entry in one's own inbox has not come. */
export const PROVISIONAL = Number.MAX_SAFE_INTEGER;

export const placeOf = (cursor) => cursor.split("-").map(Number);
export const placed = (record) => [record.ms, record.seq];
export const compare = (one, other) => one[0] - other[0] || one[1] - other[1];
export const reached = (place, mark) => mark != null && compare(place, mark) <= 0;
export const furthest = (one, other) => (one == null || (other != null && compare(one, other) < 0) ? other : one);

export const identityOf = (from, id) => `message/${from}/${id}`;
export const isGroup = (peer) => peer.startsWith("#");
export const groupOf = (peer) => peer.slice(1);
export const listed = (to) => (to == null ? [] : Array.isArray(to) ? to : [to]);

/** The kinds of entries that a conversation's log is made of. */
export const LOGGED = ["message", "deleted", "edit", "delete", "react", "group"];

/** The conversations an entry (or an item of the outbox) belongs to: several, when it went to several. */
export function peersOf(entry, me) {
  if (entry.group != null) return [`#${entry.group}`];
  return (entry.from ?? me) === me ? listed(entry.to) : [entry.from];
}

/** The records of an entry of one of the kinds above. */
export function recordsOf(entry, me) {
  const [ms, seq] = placeOf(entry.cursor);
  const place = { ms, seq, ts: entry.ts ?? ms };
  return peersOf(entry, me).map((peer) => ({ peer, ...recordOf(entry, me, place) }));
}

function recordOf(entry, me, place) {
  if (entry.type === "group") return eventOf(entry, me, place);
  if (entry.type === "message") return messageOf(entry, me, place);
  if (entry.type === "deleted") return { ...messageOf(entry, me, place), body: null, erased: true };
  return changeOf(entry, place);
}

function messageOf({ id, from, to, body, seq: n }, me, place) {
  const more = { ...(n != null && { n }), ...(Array.isArray(to) && from === me && { to }) };
  return { identity: identityOf(from, id), kind: "message", id, from, mine: from === me, body, ...place, ...more };
}

function eventOf({ id, group, event, user, by, name, seq: n }, me, place) {
  const about = { event, user, self: user === me, ...(name != null && { name }) };
  return { identity: `group/${group}/${id}`, kind: "event", id, from: by, mine: by === me, ...about, ...place, n };
}

/** What was done to the message `target`; without a place of its own in the log. */
function changeOf({ type, id, from, target, target_from: author, body }, { ms, seq, ts }) {
  const identity = identityOf(author ?? from, target);
  const change = { id, at: [ms, seq], ts, body };
  if (type === "delete") return { identity, erased: true };
  if (type === "edit") return { identity, edit: change };
  return { identity, reacts: { [from]: change } };
}

/** The records of what is one's own and was accepted just now; `item`: of the outbox. A message stands where its own copy
 * will; a change counts less than any of the same moment, until its own copy comes.
 */
export function recordsOfAccepted(item, acceptance, me) {
  const { ts } = acceptance;
  const entry = { ...item, type: isChange(item) ? item.type : "message", from: me, seq: acceptance.seq };
  const place = { ts, ms: ts, seq: entry.type === "message" ? PROVISIONAL : -1 };
  const took = (peer) => isGroup(peer) || (acceptance.recipients ?? []).some((one) => one.to === peer && one.error == null);
  return peersOf(entry, me).filter(took).map((peer) => ({ peer, ...recordOf(entry, me, place) }));
}

/** A record's message, as the client wants it named. */
export function refOf({ peer, id, from, to, ms, seq, n }, me) {
  const where = isGroup(peer) ? { group: groupOf(peer), seq: n } : { to: to ?? (from === me ? peer : me) };
  return { type: "message", id, from, ...where, ...(seq !== PROVISIONAL && { cursor: `${ms}-${seq}` }) };
}

/** Whether a record stands in the log: not only what was done to a message that is not here. */
export const isLine = (record) => record?.ms != null;

/** Whether `record` says more of the line itself than the stored one of the same identity. */
export const improves = (record, known) =>
  isLine(record) && (!isLine(known) || (known.seq === PROVISIONAL && record.seq !== PROVISIONAL));

/** Two records of one identity as one; `known` itself where the other says nothing new. */
export function joined(known, record) {
  if (known == null) return cleaned(record);
  const better = improves(record, known);
  const erased = Boolean(known.erased || record.erased);
  const edit = newer(known.edit, record.edit);
  const reacts = joinedReacts(known.reacts, record.reacts);
  const same = erased ? Boolean(known.erased) : edit === known.edit && reacts === known.reacts;
  if (!better && same) return known;
  return cleaned({ ...known, ...(better && record), edit, reacts, erased });
}

// Nothing of what was deleted stays in the store.
function cleaned({ edit, reacts, erased, ...record }) {
  if (erased) return { ...record, ...("body" in record && { body: null }), erased: true };
  return { ...record, ...(edit && { edit }), ...(reacts && { reacts }) };
}

const newer = (one, other) => (other == null || (one != null && compare(one.at, other.at) >= 0) ? one : other);

function joinedReacts(known = {}, more = {}) {
  const changed = Object.entries(more).filter(([user, one]) => newer(known[user], one) !== known[user]);
  if (changed.length > 0) return { ...known, ...Object.fromEntries(changed) };
  return Object.keys(known).length > 0 ? known : undefined;
}

/** What to store of a record where `known` is stored: {record, fresh}, or null for nothing. `counts`: it was delivered
 * just now; `fresh`: for the first time, though history may have brought it before, or another tab have taken it.
 */
export function kept(record, known, counts) {
  const counted = counts && isLine(record) && record.kind === "message";
  const fresh = counted && !known?.counted;
  const better = joined(known, record);
  if (!fresh && better === known) return null;
  return { record: { ...better, counted: counted || (known?.counted ?? false) }, fresh };
}

/** What a message says now: its newest edit, or what it began with. */
export const bodyOf = (record) => (record.edit ? record.edit.body : record.body);

/** The outbox's changes of messages, as records of a conversation: newer than whatever is stored. */
export function waitingChanges(outbox, peer, me) {
  return outbox
    .filter((item) => isChange(item) && item.state !== "failed" && peersOf({ ...item, from: me }, me).includes(peer))
    .map((item) => ({ peer, ...recordOf({ ...item, from: me }, me, { ms: Infinity, seq: item.order, ts: item.createdAt }) }));
}

/** Whether an item of the outbox is an edit, a deletion or a reaction. */
export const isChange = (item) => item.type === "edit" || item.type === "delete" || item.type === "react";
