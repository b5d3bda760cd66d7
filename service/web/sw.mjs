/** Keeps the page's files, so that it opens without a network. Nothing else: no answer of the service, no message.
 * The service puts SHELL in front: {version, files: {path: ETag}}. So another version is another service worker.
 */

const NAME = "inboxd-shell-";
const VERSION = `${NAME}${SHELL.version}`;

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("fetch", (event) => {
  const path = pathOf(event.request);
  if (path != null) event.respondWith(answer(path, event.request));
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
  await clients.claim();
}

/** Which file of the page a request is for; null for everything else, which is not touched. */
function pathOf(request) {
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return null;
  return Object.hasOwn(SHELL.files, url.pathname) ? url.pathname : null;
}

async function answer(path, request) {
  const cache = await caches.open(VERSION);
  return (await cache.match(path)) ?? fetch(request);
}
