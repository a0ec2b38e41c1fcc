// The service worker of the static site: after the first visit it works without a network. What the
// page is made of is kept at once, the runtime and the models when they are first used.

const VERSION = "VERSION"; // both are filled in by rtstyle/web/site.py
const SHELL = ["SHELL"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(SHELL)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    const names = (await caches.keys()).filter((name) => name.startsWith("rtstyle-") && name !== VERSION);
    const cache = await caches.open(VERSION);
    for (const name of names) { // large files that have not changed are taken over, by their hashed names
      const old = await caches.open(name);
      for (const request of await old.keys()) {
        if (/\/(runtime|models)\//.test(request.url) && !(await cache.match(request))) await cache.put(request, await old.match(request));
      }
      await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  event.respondWith((async () => {
    const cache = await caches.open(VERSION);
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return kept;
    const response = await fetch(request);
    if (response.ok && response.status === 200) await cache.put(request, response.clone());
    return response;
  })());
});
