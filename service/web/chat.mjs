/** The page of somebody who is known: the bar, the list, one conversation. On a phone one of the latter two. */

import { html, useEffect, useRef, useState } from "./vendor/htm/standalone.mjs";
import { Composer } from "./composer.mjs";
import { ConnectionBar } from "./connection.mjs";
import { Conversations } from "./conversations.mjs";
import { peerOf, show } from "./hash.mjs";
import { Heading } from "./heading.mjs";
import { Log } from "./log.mjs";
import { TokenForm } from "./login.mjs";
import { nameOf, titleOf, unreadOf } from "./rows.mjs";
import { count, visible } from "./text.mjs";

export function Chat({ session, auth, onLeave, onToken }) {
  const [, redraw] = useState(0);
  useEffect(() => {
    const changed = () => redraw((number) => number + 1);
    const moved = () => (peerOf() ? session.open(peerOf()) : session.leave());
    const pressed = (event) => event.key === "Escape" && session.conversation && narrow() && show(null);
    session.addEventListener("changed", changed);
    addEventListener("hashchange", moved);
    addEventListener("keydown", pressed);
    moved();
    return () => {
      session.removeEventListener("changed", changed);
      removeEventListener("hashchange", moved);
      removeEventListener("keydown", pressed);
    };
  }, [session]);

  const { view, conversation } = session;
  useFocus(conversation?.peer);
  document.title = titleOf(unreadOf([...view.rows.values()]));
  const row = conversation && view.rows.get(conversation.peer);
  const needsToken = auth === "jwt" && view.connection.state === "failed";
  return html`<div class="app" data-view=${row ? "conversation" : "list"}>
    <${ConnectionBar} session=${session} onLeave=${onLeave} />
    <${Notices} session=${session} />
    ${needsToken && html`<${TokenForm} user=${session.user} onToken=${onToken} />`}
    <main class="both">
      <${Conversations} session=${session} open=${conversation?.peer} onOpen=${show} />
      <section class="main" aria-label=${row ? `Conversation with ${visible(nameOf(row))}` : "No conversation"}>
        ${row ? html`<${Open} key=${row.peer} session=${session} conversation=${conversation} row=${row} />` : html`<${Welcome} />`}
      </section>
    </main>
  </div>`;
}

// Where one view takes the other's place the keyboard goes along.
function useFocus(peer) {
  const last = useRef(null);
  useEffect(() => {
    const place = peer ? ".log" : last.current && `[data-peer="${CSS.escape(last.current)}"]`;
    if (place && narrow()) document.querySelector(place)?.focus({ preventScroll: true });
    last.current = peer;
  }, [peer]);
}

const narrow = () => matchMedia("(max-width: 46rem)").matches;

function Open({ session, conversation, row }) {
  return html`
    <${Heading} session=${session} row=${row} />
    <${Log} session=${session} conversation=${conversation} row=${row} />
    <${Composer} key=${session.view.restored} session=${session} row=${row} />`;
}

function Notices({ session }) {
  const { caught, trouble } = session.view;
  const away = caught?.done && caught.count > 0;
  return html`<div class="notices">
    <div role="status">
      ${away && html`<p class="notice">
        <span data-testid="caught-up" data-count=${String(caught.count)}>
          ${count(caught.count, "message", "messages")} while you were away
        </span>
        <button type="button" class="quiet" onClick=${() => session.dismiss("caught")}>OK</button>
      </p>`}
    </div>
    <div role="alert">
      ${trouble && html`<p class="notice warning">
        <span data-testid="trouble">${visible(String(trouble.message ?? trouble.code ?? trouble))}</span>
        <button type="button" class="quiet" onClick=${() => session.dismiss("trouble")}>OK</button>
      </p>`}
    </div>
  </div>`;
}

function Welcome() {
  return html`<div class="welcome">
    <img src="/web/icons/icon.svg" alt="" width="72" height="72" />
    <h2>A message that was accepted arrives.</h2>
    <p>Open a conversation, then try to break it: go offline and write, drop the connection, close the page, kill a worker.
      What is not sent yet waits here; what was sent to you waits there.</p>
  </div>`;
}
