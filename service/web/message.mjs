/** One message: its text, when, in which state, what others feel about it; what can be done about one that did not get out. */

import { html, useRef, useState } from "./vendor/htm/standalone.mjs";
import { Actions, Reactions, may } from "./actions.mjs";
import { STATES, bodyText, clock, count, groupStateText, isPlain, refusal } from "./text.mjs";

const LONG = 2000; // characters that are shown at first

/** `stop`: whether the Tab key stops at its actions; the arrow keys lead from there to those of the others. */
export function Message({ item, session, named, stop }) {
  const [doing, setDoing] = useState(null);
  const opener = useRef(null);
  const done = () => {
    setDoing(null);
    opener.current?.focus();
  };
  // Also where what was opened has not been drawn yet.
  const onKeyDown = (event) => {
    if (event.key !== "Escape") return;
    if (doing) event.stopPropagation();
    setDoing(null);
  };
  const sides = [item.mine ? "mine" : "theirs", item.follows && "follows", item.state].filter(Boolean).join(" ");
  return html`<li class="message ${sides}" data-testid="message" data-id=${item.id} data-identity=${item.identity}
    data-state=${item.state} data-seen=${String(item.seen)}>
    ${named && !item.mine && !item.follows && html`<p class="sender" aria-hidden="true"><bdi>${item.from}</bdi></p>`}
    <div class="line">
      <div class="bubble">
        <span class="unseen">${item.mine ? "You" : item.from}: </span>
        <${Text} item=${item} />
        <${Foot} item=${item} />
      </div>
      ${may(item) && html`<button type="button" class="quiet opener" data-testid="actions" tabindex=${stop ? 0 : -1} ref=${opener}
        aria-expanded=${String(doing != null)} onKeyDown=${onKeyDown} onClick=${() => setDoing(doing ? null : "choose")}>
        <span aria-hidden="true">⋯</span><span class="unseen">React or change</span>
      </button>`}
    </div>
    <${Reactions} item=${item} session=${session} />
    ${doing && may(item) && html`<${Actions} item=${item} session=${session} doing=${doing} setDoing=${setDoing} onDone=${done} />`}
    <${Trouble} item=${item} session=${session} />
  </li>`;
}

function Text({ item }) {
  const [whole, setWhole] = useState(false);
  if (item.erased) return html`<p class="text erased" data-testid="erased">Deleted</p>`;
  const { body } = item;
  const text = bodyText(body);
  const cut = !whole && text.length > LONG;
  return html`
    <p class=${isPlain(body) ? "text" : "text json"} dir="auto">${cut ? `${text.slice(0, LONG)}…` : text}</p>
    ${cut && html`<button type="button" class="quiet more" onClick=${() => setWhole(true)}>
      Show all ${count(text.length, "character", "characters")}
    </button>`}`;
}

function Foot({ item }) {
  const state = item.state === "queued" && item.sending ? "sent" : item.seen ? "seen" : item.state;
  const [drawn, word] = item.changing ? ["◷", "a change is on its way"] : item.erased ? [] : STATES[state] ?? [];
  const said = item.group && !item.seen && !item.changing ? groupStateText(item.group) : word;
  const far = item.group?.read > 0 && !item.seen && !item.changing;
  return html`<p class="foot">
    ${item.edited && html`<span data-testid="edited">edited</span>`}
    <time datetime=${new Date(item.ts).toISOString()}>${clock(item.ts)}</time>
    ${far && html`<span aria-hidden="true" data-testid="read-by">${said}</span>`}
    ${drawn && html`<span class="state ${state}" title=${said}>
      <span aria-hidden="true">${drawn}</span><span class="unseen">, ${said}</span>
    </span>`}
  </p>`;
}

const WHAT = { edit: "Not changed", delete: "Not deleted", react: "No reaction" };

function Trouble({ item, session }) {
  const { failed } = item;
  if (item.state !== "failed" && item.state !== "stale" && !failed) return null;
  const { state, error, id } = failed ?? item;
  const why = state === "failed"
    ? `${failed ? WHAT[failed.type] : "Not sent"}: ${refusal(error)}.`
    : "This was tried long ago and never answered. It may have arrived; sent again, it may arrive twice.";
  return html`<div class="trouble" data-testid="trouble-of-message">
    <p>${why}</p>
    <button type="button" data-testid="retry" onClick=${() => session.retry(id)}>Send again</button>
    <button type="button" data-testid="discard" onClick=${() => session.discard(id)}>Discard</button>
  </div>`;
}
