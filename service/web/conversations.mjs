/** The list of conversations, and how to begin one. */

import { html, useState } from "./vendor/htm/standalone.mjs";
import { NewGroup } from "./members.mjs";
import { NAME, bodyOf } from "./model.mjs";
import { lastWaiting, nameOf, sortedRows } from "./rows.mjs";
import { STATES, bodyText, count, eventText, hueOf, initials, keptText, snippet, visible, when } from "./text.mjs";

export function Conversations({ session, open, onOpen }) {
  const { rows: all, outbox } = session.view;
  const rows = sortedRows(all.values(), outbox, session.user);
  return html`<nav class="side" aria-label="Conversations">
    <${Begin} session=${session} onOpen=${onOpen} />
    ${rows.length === 0 && html`<p class="note empty">Nobody here yet. Write to someone by their user name.</p>`}
    <ul class="conversations" data-testid="conversations" aria-label="Conversations">
      ${rows.map((row) => html`<${Row} key=${row.peer} row=${row} waiting=${lastWaiting(outbox, row.peer, session.user)}
        me=${session.user} open=${row.peer === open} onOpen=${onOpen} />`)}
    </ul>
    <${Facts} session=${session} />
  </nav>`;
}

function Begin({ session, onOpen }) {
  const [grouping, setGrouping] = useState(false);
  const [name, setName] = useState("");
  const [wrong, setWrong] = useState(false);
  const begin = (event) => {
    event.preventDefault();
    const peer = name.trim();
    setWrong(!NAME.test(peer));
    if (!NAME.test(peer)) return;
    setName("");
    onOpen(peer);
  };
  return html`<form class="begin" onSubmit=${begin}>
    <label class="unseen" for="begin">Write to a user</label>
    <input id="begin" data-testid="new-conversation" placeholder="Write to…" autocomplete="off" autocapitalize="none"
      spellcheck="false" value=${name} aria-invalid=${String(wrong)} aria-describedby="begin-wrong"
      onInput=${(event) => setName(event.target.value)} />
    <button class="primary" type="submit" data-testid="open-conversation">Open</button>
    <button class="quiet" type="button" data-testid="new-group" aria-expanded=${String(grouping)}
      onClick=${() => setGrouping(!grouping)}>New group</button>
    <p class="wrong" id="begin-wrong" role="alert">${wrong ? "A name has letters, digits and . _ - @ : + only." : ""}</p>
  </form>
  ${grouping && html`<${NewGroup} session=${session} onClose=${() => setGrouping(false)} />`}`;
}

function Row({ row, waiting, me, open, onOpen }) {
  const { peer, last, unread } = row;
  const at = waiting?.createdAt ?? last?.ts;
  return html`<li>
    <button type="button" class="conversation" data-testid="conversation" data-peer=${peer}
      aria-current=${open ? "true" : null} onClick=${() => onOpen(peer)}>
      <span class="face hue-${hueOf(peer)}" aria-hidden="true">${initials(nameOf(row))}</span>
      <span class="peer"><bdi>${visible(nameOf(row))}</bdi>${peer === me && html`<span class="dim"> (you)</span>`}</span>
      <span class="when">${at && html`<time datetime=${new Date(at).toISOString()}>${when(at)}</time>`}</span>
      <span class="snippet"><${Snippet} row=${row} waiting=${waiting} open=${open} me=${me} /></span>
      ${unread > 0 && html`<span class="unread"><span data-testid="unread">${unread}</span><span class="unseen"> unread</span></span>`}
    </button>
  </li>`;
}

function Snippet({ row, waiting, open, me }) {
  const { last, draft } = row;
  if (draft.trim() !== "" && !open) return html`<em>Draft:</em> <bdi>${snippet({ text: draft })}</bdi>`;
  if (waiting) {
    const [drawn, said] = STATES[waiting.state] ?? STATES.queued;
    return html`<span aria-hidden="true">${drawn} </span><bdi>${snippet(waiting.body)}</bdi><span class="unseen">, ${said}</span>`;
  }
  if (last == null) return html`<span class="dim">No messages yet</span>`;
  if (last.kind === "event") return html`<bdi>${eventText({ ...last, by: last.from }, me)}</bdi>`;
  if (last.erased) return html`<span class="dim">Deleted</span>`;
  const body = bodyOf(last);
  const from = last.mine ? "You: " : last.n != null && `${last.from}: `;
  return html`${from}<bdi title=${bodyText(body).slice(0, 200)}>${snippet(body)}</bdi>`;
}

function Facts({ session }) {
  const { storage, repeats, leader } = session.view;
  const durable = (storage?.durable ?? true) && session.store.durable;
  return html`<div class="facts">
    <p data-testid="storage" data-kind=${storage?.kind} data-durable=${String(durable)} class=${durable ? "" : "warning"}>
      ${keptText(storage, session.store.durable)}
    </p>
    <p data-testid="repeats" data-count=${String(repeats)}>${count(repeats, "repeat", "repeats")} suppressed</p>
    <p data-testid="leader" data-leader=${String(leader !== false)}>
      ${leader === false ? "Another tab has the connection" : "This tab has the connection"}
    </p>
  </div>`;
}
