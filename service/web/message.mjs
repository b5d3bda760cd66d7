/** One message: its text, when, in which state; what can be done about one that did not get out. */

import { html, useState } from "./vendor/htm/standalone.mjs";
import { STATES, bodyText, clock, count, isPlain, refusal } from "./text.mjs";

const LONG = 2000; // characters that are shown at first

export function Message({ item, session }) {
  const sides = [item.mine ? "mine" : "theirs", item.follows && "follows", item.state].filter(Boolean).join(" ");
  return html`<li class="message ${sides}" data-testid="message" data-id=${item.id} data-state=${item.state}>
    <div class="bubble">
      <span class="unseen">${item.mine ? "You" : item.from}: </span>
      <${Text} body=${item.body} />
      <${Foot} item=${item} />
    </div>
    <${Trouble} item=${item} session=${session} />
  </li>`;
}

function Text({ body }) {
  const [whole, setWhole] = useState(false);
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
  const [drawn, said] = STATES[state] ?? [];
  return html`<p class="foot">
    <time datetime=${new Date(item.ts).toISOString()}>${clock(item.ts)}</time>
    ${drawn && html`<span class="state ${state}" title=${said}>
      <span aria-hidden="true">${drawn}</span><span class="unseen">, ${said}</span>
    </span>`}
  </p>`;
}

function Trouble({ item, session }) {
  if (item.state !== "failed" && item.state !== "stale") return null;
  const why = item.state === "failed"
    ? `Not sent: ${refusal(item.error)}.`
    : "This was tried long ago and never answered. It may have arrived; sent again, it may arrive twice.";
  return html`<div class="trouble">
    <p>${why}</p>
    <button type="button" data-testid="retry" onClick=${() => session.retry(item.id)}>Send again</button>
    <button type="button" data-testid="discard" onClick=${() => session.discard(item.id)}>Discard</button>
  </div>`;
}
