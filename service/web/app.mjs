/** The beginning: who is there, what is stored, the client; then the page. */

import { InboxClient } from "/sdk/inboxd.mjs";
import { InboxHttp } from "/sdk/inboxd-http.mjs";
import { html, render, useState } from "./vendor/htm/standalone.mjs";
import { Chat } from "./chat.mjs";
import { Login } from "./login.mjs";
import { Network } from "./network.mjs";
import { Session } from "./session.mjs";
import { openStore } from "./store.mjs";
import * as who from "./who.mjs";

async function sessionOf({ user, device }, auth) {
  const scope = `${user}/${device}`;
  const channel = typeof BroadcastChannel === "function" ? new BroadcastChannel(`inboxd-page:${scope}`) : null;
  const network = new Network(channel);
  const store = await openStore(scope);
  const getToken = auth === "jwt" ? () => who.tokenOf(user) : undefined;
  const asking = { url: location.origin, user, ...(getToken && { getToken }) };
  const client = new InboxClient({ ...asking, device, network });
  const session = new Session({ user, device, client, http: new InboxHttp(asking), store, network, channel });
  await session.start();
  return session;
}

async function enter({ user, device, token }, auth) {
  if (token) who.keepToken(user, token);
  who.remember({ user, device });
  // A reload stays who one is; two tabs may be two users.
  const query = new URLSearchParams({ user, device });
  history.replaceState(null, "", `/?${query}${location.hash}`);
  return sessionOf({ user, device }, auth);
}

function App({ auth, asked, first }) {
  const [session, setSession] = useState(first);
  if (session == null) {
    return html`<${Login} auth=${auth} asked=${asked} onLogin=${async (one) => setSession(await enter(one, auth))} />`;
  }
  const leave = async () => {
    await session.end();
    who.forget(session);
    document.title = "inboxd";
    history.replaceState(null, "", "/");
    setSession(null);
  };
  const onToken = (token) => {
    who.keepToken(session.user, token);
    session.connect();
  };
  return html`<${Chat} key=${`${session.user}/${session.device}`} session=${session} auth=${auth} onLeave=${leave} onToken=${onToken} />`;
}

/** Who need not be asked: whoever the address names, else who was here last; with tokens, whoever was here. */
function knownUser(asked, auth) {
  const last = who.remembered();
  if (asked.user == null) return asked.device == null ? last : null;
  const device = asked.device ?? who.deviceOf(asked.user) ?? who.mintDevice();
  const been = last?.user === asked.user || who.tokenOf(asked.user) != null;
  return auth === "off" || been ? { user: asked.user, device } : null;
}

async function begin() {
  const { auth } = await who.config();
  const asked = who.asked();
  const known = knownUser(asked, auth);
  const first = known && (await enter(known, auth));
  render(html`<${App} auth=${auth} asked=${asked} first=${first} />`, document.getElementById("page"));
}

function registerServiceWorker() {
  const path = "/sw.mjs";
  const policy = self.trustedTypes?.createPolicy("inboxd", { createScriptURL: (url) => (url === path ? url : "") });
  navigator.serviceWorker?.register(policy ? policy.createScriptURL(path) : path).catch(() => {}); // works without
}

registerServiceWorker();
begin();
