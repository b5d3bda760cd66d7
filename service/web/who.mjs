/** Who uses this page: a user, a device, perhaps a token. A token stays in its tab; the rest is remembered. */

import { NAME } from "./model.mjs";

const LAST = "inboxd.page.last";
const CONFIG = "inboxd.page.config";
const tokenKey = (user) => `inboxd.page.token.${user}`;

// Storage may be switched off; then nothing is remembered.
function read(storage, key) {
  try { return self[storage].getItem(key); } catch { return null; }
}
function write(storage, key, value) {
  try { value == null ? self[storage].removeItem(key) : self[storage].setItem(key, value); } catch { /* not kept */ }
}
function parsed(text) {
  try { return JSON.parse(text); } catch { return null; }
}

/** `{auth: "off" | "jwt", version}`; without a network what it was the last time. */
export async function config() {
  try {
    const answer = await fetch("/web/config.json", { cache: "no-cache" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const found = await answer.json();
    write("localStorage", CONFIG, JSON.stringify(found));
    return found;
  } catch {
    return parsed(read("localStorage", CONFIG)) ?? { auth: "off", version: "" };
  }
}

const named = (text) => (text != null && NAME.test(text) ? text : null);

/** What the address asks for: `?user=alice&device=web`. Names that are none are left out. */
export function asked(search = location.search) {
  const query = new URLSearchParams(search);
  return { user: named(query.get("user")), device: named(query.get("device")) };
}

/** Who was here last: `{user, device}`, or null. */
export function remembered() {
  const last = parsed(read("localStorage", LAST));
  return named(last?.user) && named(last?.device) ? { user: last.user, device: last.device } : null;
}

export function remember({ user, device }) {
  write("localStorage", LAST, JSON.stringify({ user, device }));
  write("localStorage", `inboxd.page.device.${user}`, device);
}

export function forget({ user }) {
  write("localStorage", LAST, null);
  write("sessionStorage", tokenKey(user), null);
}

/** The device name that this browser had for a user; or null. */
export const deviceOf = (user) => (user ? named(read("localStorage", `inboxd.page.device.${user}`)) : null);

export function mintDevice() {
  const letters = crypto.getRandomValues(new Uint8Array(4));
  return `web-${[...letters].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export const tokenOf = (user) => read("sessionStorage", tokenKey(user));
export const keepToken = (user, token) => write("sessionStorage", tokenKey(user), token);

/** The user a token is for (it is the service that checks it); null for what is no token. */
export function subjectOf(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    return named(JSON.parse(new TextDecoder().decode(bytes)).sub);
  } catch {
    return null;
  }
}
