/** The bar on top: who one is, how the connection stands, and two buttons that make it worse, to see what happens. */

import { html, useEffect, useState } from "./vendor/htm/standalone.mjs";
import { CONNECTION, closeReason, retryText } from "./text.mjs";

export function ConnectionBar({ session, onLeave }) {
  const { connection, off } = session.view;
  const { state, code } = connection;
  const switchTo = (off) => () => {
    session.network.off = off;
  };
  return html`<header class="bar">
    <h1 class="brand"><img src="/web/icons/icon.svg" alt="" width="28" height="28" /><span>inboxd</span></h1>
    <div class="connection ${state}" data-testid="connection" data-state=${state} data-code=${code}>
      <span class="dot" aria-hidden="true"></span>
      <span role="status">${said(connection, off)}</span>
      ${state === "reconnecting" && html`<${Countdown} retryAt=${session.client.retryAt ?? connection.retryAt} />`}
    </div>
    <div class="tools">
      ${(state === "failed" || state === "closed") && html`
        <button type="button" data-testid="reconnect" onClick=${() => session.connect()}>Connect again</button>`}
      ${off
        ? html`<button type="button" class="primary" data-testid="go-online" onClick=${switchTo(false)}>Go online</button>`
        : html`<button type="button" data-testid="go-offline" onClick=${switchTo(true)}>Go offline</button>`}
      <button type="button" data-testid="drop" disabled=${state !== "live" && state !== "replaying"}
        title="Cuts the connection as a bad network would" onClick=${() => session.client.drop()}>
        Drop<span class="wide"> the connection</span>
      </button>
    </div>
    <div class="me">
      <span class="dim wide">You are </span><strong><bdi>${session.user}</bdi></strong>
      <span class="dim wide device"> on ${session.device}</span>
      <button type="button" class="quiet" data-testid="switch-user" onClick=${onLeave}>Switch</button>
    </div>
  </header>`;
}

function said(connection, off) {
  const { state } = connection;
  if (state === "offline" && off) return "Offline (switched off here)";
  if (state === "failed") return `Stopped: ${closeReason(connection)}`;
  return CONNECTION[state] ?? state;
}

// It changes every second: nothing to be read out.
function Countdown({ retryAt }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick(Date.now()), 250);
    return () => clearInterval(timer);
  }, []);
  return html`<span class="retry-in" data-testid="retry-in">${retryAt == null ? "" : retryText(retryAt)}</span>`;
}
