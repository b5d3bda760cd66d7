/** What a conversation's log shows, made of its records, its row, the outbox and the gaps: pure functions. */

import {
  bodyOf, compare, identityOf, isChange, isGroup, joined, peersOf, placed, reached, waitingChanges,
} from "./model.mjs";
import { reachedBy } from "./rows.mjs";

/** From top to bottom. `records` are ascending; `outbox` is in its order.
 *
 * Items: {kind: "day", at}, {kind: "gap", gap}, {kind: "new"}, {kind: "event", …}, {kind: "message", …}. Each has a `key`.
 */
export function logItems({ me, row, records, outbox, gaps, newAfter = null, atStart = false }) {
  const known = new Set(records.map((one) => one.identity));
  const changes = new Map(changesOf(outbox, row.peer, me));
  const lines = [
    ...records.map((one) => (one.kind === "event" ? told(one) : shown(one, row, me, changes.get(one.identity)))),
    ...outbox.filter((item) => !isChange(item) && peersOf({ ...item, from: me }, me).includes(row.peer))
      .map((item) => waiting(item, me)).filter((one) => !known.has(one.identity)),
  ];
  const from = records.length > 0 && !atStart ? placed(records[0]) : [0, 0];
  const lost = gaps.filter((gap) => compare(gap.place, from) >= 0);
  const items = [];
  for (const one of lines) {
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

function divide(items, line, newAfter) {
  const before = items.findLast((one) => one.kind === "message" || one.kind === "event");
  const today = items.findLast((one) => one.kind === "day");
  const day = new Date(line.ts).setHours(0, 0, 0, 0);
  // Never backwards: what waits may be older than what came since.
  if (today == null || day > today.day) items.push({ kind: "day", key: `day/${day}`, day, at: line.ts });
  const begins = newAfter != null && line.kind === "message" && !line.mine && compare(line.place, newAfter) > 0;
  const divided = begins && !items.some((one) => one.kind === "new");
  if (divided) items.push({ kind: "new", key: "new" });
  const near = before?.kind === "message" && items.at(-1) === before && line.ts - before.ts < 5 * 60_000;
  line.follows = near && before.from === line.from;
}

/** What the outbox does to messages: [identity, {over, failed}]; `over`: a record to be joined, `failed`: an item. */
function changesOf(outbox, peer, me) {
  const found = new Map();
  for (const record of waitingChanges(outbox, peer, me)) {
    const { over, failed } = found.get(record.identity) ?? {};
    found.set(record.identity, { over: over ? joined(over, record) : record, failed });
  }
  for (const item of outbox) {
    const stuck = isChange(item) && (item.state === "failed" || item.state === "stale");
    if (!stuck || !peersOf({ ...item, from: me }, me).includes(peer)) continue;
    const identity = identityOf(item.target_from ?? me, item.target);
    found.set(identity, { over: found.get(identity)?.over, failed: item });
  }
  return found;
}

function told({ identity, event, user, from, name, mine, self, ts, ...record }) {
  return { kind: "event", key: identity, identity, event, user, by: from, name, mine, self, ts, place: placed(record) };
}

function shown(stored, row, me, { over, failed } = {}) {
  const one = over ? joined(stored, over) : stored;
  const place = placed(one);
  const group = isGroup(row.peer) && one.mine ? reachedBy(row, one.n, me) : null;
  const delivered = group ? group.delivered === group.of : reached(place, row.delivered);
  return {
    kind: "message", key: one.identity, identity: one.identity, id: one.id, from: one.from, mine: one.mine, n: one.n,
    body: one.erased ? null : bodyOf(one), ts: one.ts, place, erased: one.erased ?? false, edited: one.edit != null && !one.erased,
    state: !one.mine ? "received" : delivered ? "delivered" : "accepted",
    seen: one.mine && (group ? group.read === group.of : reached(place, row.seen)), group,
    reactions: one.erased ? [] : reactionsOf(one.reacts, me), changing: over != null, failed: failed ?? null, error: null,
  };
}

function waiting(item, me) {
  const state = item.state === "failed" || item.state === "stale" ? item.state : "queued";
  const identity = identityOf(me, item.id);
  return {
    kind: "message", key: identity, identity, id: item.id, from: me, mine: true, body: item.body, ts: item.createdAt,
    place: [Infinity, item.order], state, sending: item.state === "sent", seen: false, group: null, erased: false,
    edited: false, reactions: [], changing: false, failed: null, error: item.error ?? null,
  };
}

const MOST_EMOJI = 16; // characters: families and flags are long

/** The emoji of a reaction; null for one that was taken back, or that is none of ours. */
export function emojiOf(body) {
  const emoji = body?.emoji;
  return typeof emoji === "string" && emoji.trim() !== "" && emoji.length <= MOST_EMOJI ? emoji : null;
}

/** What is shown of reactions, the first one first: [{emoji, users, mine}]. */
export function reactionsOf(reacts, me) {
  const found = new Map();
  const given = Object.entries(reacts ?? {}).sort(([, one], [, other]) => compare(one.at, other.at));
  for (const [user, { body }] of given) {
    const emoji = emojiOf(body);
    if (emoji == null) continue;
    const one = found.get(emoji) ?? { emoji, users: [], mine: false };
    found.set(emoji, { emoji, users: [...one.users, user], mine: one.mine || user === me });
  }
  return [...found.values()];
}
