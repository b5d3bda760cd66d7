/** A conversation's log: keeps its place while older messages come in above, and its end in view while new ones do. */

import { html, useEffect, useLayoutEffect, useRef } from "./vendor/htm/standalone.mjs";
import { may } from "./actions.mjs";
import { logItems } from "./items.mjs";
import { Message } from "./message.mjs";
import { isGroup } from "./model.mjs";
import { nameOf } from "./rows.mjs";
import { day, eventText, gapText, visible } from "./text.mjs";

const SLACK = 4; // px; positions are rounded
const NEAR_END = 64;
const NEAR_START = 400;
const IN_VIEW = 16; // px of a line that must be seen

export function Log({ session, conversation, row }) {
  const { view, user } = session;
  const box = useRef(null);
  const place = useRef({ stuck: true, anchor: null, anchorTop: 0, top: 0 });
  const items = logItems({
    me: user, row, records: conversation.records, outbox: view.outbox, gaps: view.gaps,
    newAfter: conversation.newAfter, atStart: conversation.atStart,
  });

  const old = conversation.loading || view.connection.state === "replaying"; // no news: not read out

  const last = items.findLast(may);

  const look = () => {
    conversation.seen = lowest(box.current) ?? conversation.seen;
    session.readOpen();
  };
  useLayoutEffect(() => {
    restore(box.current, place.current);
    look();
  });
  useEffect(() => {
    const resized = new ResizeObserver(() => restore(box.current, place.current)); // a phone's keyboard came up
    resized.observe(box.current);
    return () => resized.disconnect();
  }, []);
  useEffect(() => {
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    const near = scrollTop < NEAR_START || scrollHeight <= clientHeight + NEAR_START; // also who got there meanwhile
    if (near && !conversation.dry && !conversation.atStart && !conversation.loading) session.older();
  });
  const onScroll = () => {
    const { atEnd } = conversation;
    remember(box.current, place.current);
    conversation.atEnd = below(box.current) < NEAR_END;
    look();
    if (box.current.scrollTop < NEAR_START) session.older();
    if (conversation.atEnd !== atEnd) session.show({});
  };
  const toEnd = () => {
    box.current.scrollTop = box.current.scrollHeight;
  };

  return html`<div class="log-frame">
    <div class="log" role="log" aria-live=${old ? "off" : "polite"} aria-relevant="additions"
      aria-busy=${String(old)} aria-label="Messages with ${visible(nameOf(row))}" tabindex="0"
      data-testid="log" ref=${box} onScroll=${onScroll} onKeyDown=${neighbour}>
      <ol>
        <${Top} conversation=${conversation} empty=${items.length === 0} />
        ${items.map((item) => html`<${Item} key=${item.key} item=${item} session=${session} named=${isGroup(row.peer)}
          stop=${item === last} />`)}
      </ol>
    </div>
    ${!conversation.atEnd && html`<button class="to-end" type="button" onClick=${toEnd}>
      ${row.unread > 0 ? `${row.unread} new ` : "Newest "}<span aria-hidden="true">↓</span>
    </button>`}
  </div>`;
}

// Always there and of one height: what it says moves nothing.
function Top({ conversation, empty }) {
  const { loading, atStart } = conversation;
  const said = loading ? "…" : empty ? "No messages yet. Say hello." : atStart && "This is where it begins.";
  return html`<li class="note top">${said}</li>`;
}

function Item({ item, session, named, stop }) {
  if (item.kind === "day") {
    return html`<li class="day" data-testid="day"><time datetime=${new Date(item.at).toISOString()}>${day(item.at)}</time></li>`;
  }
  if (item.kind === "new") return html`<li class="new" data-testid="new"><span>New</span></li>`;
  if (item.kind === "gap") return html`<li class="gap" data-testid="gap" data-reason=${item.gap.reason}>${gapText(item.gap)}</li>`;
  if (item.kind === "event") {
    return html`<li class="event" data-testid="event" data-event=${item.event} data-identity=${item.identity}>
      ${eventText(item, session.user)}
    </li>`;
  }
  return html`<${Message} item=${item} session=${session} named=${named} stop=${stop} />`;
}

// From one message's actions to the next one's. Elsewhere the keys scroll.
function neighbour(event) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (step == null || !event.target.matches(".opener")) return;
  const all = [...event.currentTarget.querySelectorAll(".opener")];
  all[all.indexOf(event.target) + step]?.focus();
  event.preventDefault();
}

/** The lowest line that is in view: its identity. */
function lowest(box) {
  const { bottom } = box.getBoundingClientRect();
  const lines = [...box.querySelectorAll("[data-identity]")];
  return lines.findLast((one) => one.getBoundingClientRect().top + IN_VIEW <= bottom)?.dataset.identity;
}

const below = (box) => box.scrollHeight - box.scrollTop - box.clientHeight;

/** Notes where the log stands. `stuck`: at the very end, where new messages carry it along. */
function remember(box, place) {
  place.stuck = below(box) < SLACK;
  place.anchor = box.querySelector("[data-id]");
  place.anchorTop = place.anchor?.offsetTop ?? 0;
  place.top = box.scrollTop;
}

// What came in above has moved the first message down: the log goes with it. Whoever has scrolled since the last look
// (the event for that comes later) stays where that led.
function restore(box, place) {
  const moved = Math.abs(box.scrollTop - place.top) > 1;
  const shift = place.anchor?.isConnected ? place.anchor.offsetTop - place.anchorTop : 0;
  if (place.stuck && (!moved || below(box) < SLACK)) box.scrollTop = box.scrollHeight;
  else if (shift !== 0) box.scrollTop += shift;
  remember(box, place);
}
