/** Who are you? A name while authentication is off; a token otherwise. */

import { html, useState } from "./vendor/htm/standalone.mjs";
import { NAME } from "./model.mjs";
import * as who from "./who.mjs";

/** `onLogin({user, device, token})`. */
export function Login({ auth, asked, onLogin }) {
  const [user, setUser] = useState(asked.user ?? "");
  const [device, setDevice] = useState(asked.device ?? "");
  const [token, setToken] = useState("");
  const [wrong, setWrong] = useState("");
  const [minted] = useState(who.mintDevice);

  const submit = (event) => {
    event.preventDefault();
    const name = auth === "jwt" ? who.subjectOf(token.trim()) : user.trim();
    const chosen = device.trim() || (who.deviceOf(name) ?? minted);
    if (name == null) return setWrong("This is no token with a user (sub) in it.");
    if (!NAME.test(name) || !NAME.test(chosen)) return setWrong("A name has 1 to 128 letters, digits and . _ - @ : +");
    return onLogin({ user: name, device: chosen, token: auth === "jwt" ? token.trim() : null });
  };

  return html`<main class="login">
    <form onSubmit=${submit}>
      <img src="/web/icons/icon.svg" alt="" width="56" height="56" />
      <h1>inboxd</h1>
      ${auth === "jwt" ? html`<${TokenField} token=${token} onInput=${setToken} />` : html`
        <label for="user">User name</label>
        <input id="user" data-testid="login-user" required maxlength="128" autocomplete="username" autocapitalize="none"
          spellcheck="false" autofocus placeholder="alice" value=${user} onInput=${(event) => setUser(event.target.value)} />`}
      <label for="device">Device <span class="dim">(left empty, this browser gets a name of its own)</span></label>
      <input id="device" data-testid="login-device" maxlength="128" autocomplete="off" autocapitalize="none"
        spellcheck="false" placeholder=${who.deviceOf(user.trim()) ?? minted} value=${device}
        onInput=${(event) => setDevice(event.target.value)} />
      <p class="wrong" role="alert">${wrong}</p>
      <button class="primary" type="submit" data-testid="login-submit">Enter</button>
      <p class="dim">${auth === "jwt"
        ? "The token stays in this tab and is sent to this service only."
        : "Nobody is asked for a password: this service listens on this machine only."}</p>
    </form>
  </main>`;
}

function TokenField({ token, onInput }) {
  return html`<label for="token">Token (JWT)</label>
    <textarea id="token" data-testid="login-token" required rows="4" autocomplete="off" spellcheck="false"
      value=${token} onInput=${(event) => onInput(event.target.value)}></textarea>`;
}

/** A fresh token for a user whose last one is over. `onToken(token)`. */
export function TokenForm({ user, onToken }) {
  const [token, setToken] = useState("");
  const [wrong, setWrong] = useState("");
  const submit = (event) => {
    event.preventDefault();
    const name = who.subjectOf(token.trim());
    if (name !== user) return setWrong(name ? `This token is for ${name}.` : "This is no token with a user (sub) in it.");
    return onToken(token.trim());
  };
  return html`<form class="token-form" onSubmit=${submit}>
    <${TokenField} token=${token} onInput=${setToken} />
    <p class="wrong" role="alert">${wrong}</p>
    <button class="primary" type="submit" data-testid="login-submit">Connect</button>
  </form>`;
}
