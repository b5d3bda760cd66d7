/** Keeps the page's files, so that it opens without a network. Nothing else: no answer of the service, no message.
 * And shows what a backend sends by Web Push: docs/push.md has one.
 * The service puts SHELL in front: {version, files: {path: ETag}}. So another version is another service worker.
 */

const NAME = "inboxd-shell-";
const PATIENCE = 2000; // ms
const VERSION = `${NAME}${SHELL.version}`;

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("push", (event) => event.waitUntil(notify(event.data)));
addEventListener("notificationclick", (event) => event.waitUntil(open(event.notification)));
addEventListener("fetch", (event) => {
  const path = pathOf(event.request);
  if (path == null) return;
  event.respondWith(answer(path, event));
  event.waitUntil(event.preloadResponse?.catch(() => {}) ?? Promise.resolve());
});

// Workers of two versions may answer during a deploy: a mixture is not kept, the next load tries again.
async function install() {
  const cache = await caches.open(VERSION);
  await Promise.all(Object.entries(SHELL.files).map(async ([path, etag]) => {
    const answer = await fetch(path, { cache: "no-cache" });
    if (!answer.ok || answer.headers.get("etag") !== etag) throw new Error(`${path} is of another version`);
    await cache.put(path, answer);
  }));
  await skipWaiting(); // a page loads all of its files at once: the next load gets the new ones
}

async function activate() {
  const names = await caches.keys();
  await Promise.all(names.filter((one) => one.startsWith(NAME) && one !== VERSION).map((one) => caches.delete(one)));
  await registration.navigationPreload?.enable();
  await clients.claim();
}

/** Which file of the page a request is for; null for everything else, which is not touched. */
function pathOf(request) {
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return null;
  return Object.hasOwn(SHELL.files, url.pathname) ? url.pathname : null;
}

async function answer(path, event) {
  if (event.request.mode === "navigate" && new URL(event.request.url).search) {
    const told = await sentElsewhere(event);
    if (told) return told;
  }
  const cache = await caches.open(VERSION);
  return (await cache.match(path)) ?? fetch(event.request);
}

/** The service alone can tell whether another site made a link that names a user; it sends those to the plain page.
 * Only the browser's own request says so, not one made here. Without an answer in time there is the page that is kept.
 */
async function sentElsewhere({ preloadResponse }) {
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  const answer = await Promise.race([preloadResponse, late]).catch(() => null);
  return answer?.type === "opaqueredirect" ? answer : null;
}

/** {user, from, group, pending}: for whom, the newest message's sender and group, how many wait. What they say is not in
 * it. One notification for each user, in place of the one before: browsers want one for every push.
 */
async function notify(data) {
  const { user, from, group, pending } = told(data);
  const body = pending === 1 ? "1 new message" : pending > 1 ? `${pending} new messages` : "New messages";
  const tag = `pending:${user ?? ""}`;
  const icon = "/web/icons/icon-192.png";
  await registration.showNotification(String(group ?? from ?? "inboxd"), { body, tag, icon, renotify: true, data: { user } });
}

function told(data) {
  try {
    return data?.json() ?? {};
  } catch {
    return {}; // of somebody else's making; what waits is found by opening the page
  }
}

/** The page of that user, where there is one; it catches up by itself. */
async function open(notification) {
  notification.close();
  const user = notification.data?.user;
  const pages = await clients.matchAll({ type: "window" });
  const theirs = pages.find(({ url }) => user == null || new URL(url).searchParams.get("user") === user);
  await (theirs ? theirs.focus() : clients.openWindow(user == null ? "/" : `/?${new URLSearchParams({ user })}`));
}
