/** A conversation's log: keeps its place while older messages come in above, and its end in view while new ones do. */

import { html, useEffect, useLayoutEffect, useRef } from "./vendor/htm/standalone.mjs";
import { logItems } from "./model.mjs";
import { Message } from "./message.mjs";
import { day, gapText } from "./text.mjs";

const NEAR_END = 64; // px
const NEAR_START = 400;

export function Log({ session, conversation, row }) {
  const { view, user } = session;
  const box = useRef(null);
  const place = useRef({ stuck: true, anchor: null, top: 0 });
  const items = logItems({
    me: user, row, records: conversation.records, outbox: view.outbox, gaps: view.gaps,
    newAfter: conversation.newAfter, atStart: conversation.atStart,
  });

  const old = conversation.loading || view.connection.state === "replaying"; // no news: not read out

  useLayoutEffect(() => restore(box.current, place.current));
  useEffect(() => {
    const resized = new ResizeObserver(() => restore(box.current, place.current)); // a phone's keyboard came up
    resized.observe(box.current);
    return () => resized.disconnect();
  }, []);
  useEffect(() => {
    const short = box.current.scrollHeight <= box.current.clientHeight + NEAR_START;
    if (short && !conversation.dry && !conversation.loading) session.older();
  });
  const onScroll = () => {
    conversation.atEnd = remember(box.current, place.current);
    if (conversation.atEnd) session.seen();
    if (box.current.scrollTop < NEAR_START) session.older();
    session.redraw();
  };
  const toEnd = () => {
    box.current.scrollTop = box.current.scrollHeight;
  };

  return html`<div class="log-frame">
    <div class="log" role="log" aria-live=${old ? "off" : "polite"} aria-relevant="additions"
      aria-busy=${String(old)} aria-label="Messages with ${row.peer}" tabindex="0"
      data-testid="log" ref=${box} onScroll=${onScroll}>
      <ol>
        <${Top} conversation=${conversation} empty=${items.length === 0} />
        ${items.map((item) => html`<${Item} key=${item.key} item=${item} session=${session} />`)}
      </ol>
    </div>
    ${!conversation.atEnd && html`<button class="to-end" type="button" onClick=${toEnd}>
      ${row.unread > 0 ? `${row.unread} new ` : "Newest "}<span aria-hidden="true">↓</span>
    </button>`}
  </div>`;
}

function Top({ conversation, empty }) {
  if (conversation.loading) return html`<li class="note" key="top">…</li>`;
  if (empty) return html`<li class="note empty" key="top">No messages yet. Say hello.</li>`;
  return conversation.atStart && html`<li class="note" key="top">This is where it begins.</li>`;
}

function Item({ item, session }) {
  if (item.kind === "day") {
    return html`<li class="day" data-testid="day"><time datetime=${new Date(item.at).toISOString()}>${day(item.at)}</time></li>`;
  }
  if (item.kind === "new") return html`<li class="new" data-testid="new"><span>New</span></li>`;
  if (item.kind === "gap") return html`<li class="gap" data-testid="gap" data-reason=${item.gap.reason}>${gapText(item.gap)}</li>`;
  return html`<${Message} item=${item} session=${session} />`;
}

/** Notes where the log stands; whether its end is in view. */
function remember(box, place) {
  place.stuck = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
  place.anchor = box.querySelector("[data-id]");
  place.top = place.anchor ? place.anchor.offsetTop - box.scrollTop : 0;
  return place.stuck;
}

// What came in above has moved the first message down: the log goes with it.
function restore(box, place) {
  if (place.stuck) box.scrollTop = box.scrollHeight;
  else if (place.anchor?.isConnected) box.scrollTop = place.anchor.offsetTop - place.top;
  remember(box, place);
}
