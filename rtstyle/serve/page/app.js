// The page of rtstyle: what is shown, what is pressed, and what is remembered. Pictures are painted
// by a visit, either by the server (server.js) or in this browser (local.js).

import { cameras, isFront, openCamera, openFile, openMicrophone, stop } from "./camera.js";
import { changed, commandsFor, INITIAL } from "./controls.js";
import { LocalVisit } from "./local.js";
import { Recording, save, sizeOf } from "./record.js";
import { answering, ServerVisit } from "./server.js";

const $ = (id) => document.getElementById(id);
const page = document.body;
const asked = new URLSearchParams(location.search);
const is = (name) => asked.has(name) && asked.get(name) !== "0";
const KIOSK = is("kiosk");
const isSite = "site" in document.documentElement.dataset; // without a server
const registered = isSite && navigator.serviceWorker?.register("sw.js").catch(() => null);
const IDLE_SECONDS = Number(asked.get("kiosk")) || 60; // until a kiosk forgets what was chosen

let about = { mode: "camera", controls: true, uploads: false, gallery: [] }; // what the server, or the site, says
let gallery = [];
let settings = { ...INITIAL, ...remembered("settings", {}), split: null, pause: false };
let favourites = new Set(remembered("favourites", []));
let visit = null;
let source = null; // the stream that is painted
let file = null; // the photo or video that it comes from
let recording = null;
let starting = 0; // a number for each attempt, so that an old one knows that it is over
let chosenMirror = asked.has("mirror") || "mirror" in remembered("settings", {});
const own = new Map(); // style → { file, url } of the viewer's own pictures
const faces = new Map(); // style → URL of the viewer's own face in it

function remembered(name, otherwise) {
  if (KIOSK) return otherwise;
  try { return JSON.parse(localStorage.getItem(`rtstyle-${name}`)) ?? otherwise; } catch { return otherwise; }
}
function remember(name, value) {
  try { if (!KIOSK) localStorage.setItem(`rtstyle-${name}`, JSON.stringify(value)); } catch { /* private window */ }
}

// ---- a visit ----------------------------------------------------------------------------------

const live = () => page.dataset.state === "live";
const shown = () => (visit instanceof LocalVisit ? $("canvas") : $("painted"));
function perform(command) {
  if (!about.controls) return;
  if (command.startsWith("mirror")) chosenMirror = true;
  if (visit) visit.perform(command);
  else showSettings(changed(settings, gallery, command));
}

const listeners = (mine) => {
  const current = (act) => (...values) => { if (mine === starting) act(...values); };
  return {
    hello: current(greet), gallery: current(showGallery), settings: current(showSettings),
    figures: current(showFigures), notice: current(notify), progress: current(showProgress),
    ended: current((reason, { again }) => (again ? comeBack(reason) : end(reason))),
  };
};

function makeVisit(mine) {
  const on = listeners(mine);
  if (paintsHere()) {
    return new LocalVisit(on, $("canvas"), about.here, { settings, gallery, backend: backend(), height: Number(asked.get("height")) || null, vectors });
  }
  return new ServerVisit(on, $("painted"), $("camera"));
}
const vectors = new Map(); // of the viewer's own pictures, painted here

// Where pictures are painted: as the address says, the viewer chose, or the server wants it.
let hasGpu = false;
const backend = () => ({ gpu: "webgpu", cpu: "wasm" }[asked.get("paint")] ?? remembered("backend", null) ?? (hasGpu ? "webgpu" : "wasm"));
function paintsHere() {
  if (!about.here || about.mode === "watch") return false;
  if (about.paint === "here" || about.site) return true;
  const choice = asked.get("paint") ?? remembered("where", about.paint);
  return choice === "auto" ? hasGpu : choice !== "server";
}

const canCutOut = () => Boolean(about.here?.masks && paintsHere());

// Resolves once the service worker keeps what is fetched, so that the first visit is enough to work
// without a network later; at once where there is none, or where it was passed by for a reload.
async function keepsFiles() {
  const registration = await registered;
  if (!registration || navigator.serviceWorker.controller || registration.active?.state === "activated") return;
  const controlled = new Promise((resolve) => { navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }); });
  await Promise.race([controlled, new Promise((resolve) => { setTimeout(resolve, 10000); })]);
}

async function start() {
  const mine = ++starting;
  $("start").disabled = true;
  $("problem").textContent = "";
  try {
    await greeted(); // a press may come before the answer, and what it starts depends on it
    if (mine !== starting) return;
    showProgress(about.mode === "watch" ? "Connecting …" : "Waiting for the camera …", 0.1);
    if (about.mode !== "watch") {
      // before connecting: a seat is not held while somebody thinks about the permission
      source ??= file ? await openFile(file) : await openCamera(wishes());
      watchCamera(source);
      await listCameras();
      if (!chosenMirror) settings = { ...settings, mirror: !file && isFront(source) };
    }
    if (about.site) await keepsFiles();
    if (mine !== starting) return;
    visit = makeVisit(mine);
    const commands = about.controls && about.mode !== "watch" ? commandsFor(settings, gallery) : [];
    await visit.start(source, commands);
    if (mine !== starting) return;
    began();
  } catch (error) {
    if (mine !== starting) return;
    if (error.again && recording) { comeBack(error.message); return; }
    end(error.message);
    if (KIOSK || is("autostart")) setTimeout(() => { if (!live() && mine === starting) start(); }, 5000);
  } finally {
    if (mine === starting) { $("start").disabled = false; showProgress(null); }
  }
}

function began() {
  const here = visit instanceof LocalVisit;
  page.dataset.state = "live";
  page.dataset.painted = here ? "here" : "server";
  $("canvas").hidden = !here;
  $("painted").hidden = here;
  enable();
  showWhere();
  fitFrame();
  showSettings(settings);
  const pending = own.get(waitingStyle);
  waitingStyle = "";
  if (pending) useAsStyle(pending.file);
  const mine = starting;
  setTimeout(() => { if (mine === starting) showFaces(mine); }, 3000);
}
let waitingStyle = ""; // a picture of one's own that was chosen before the visit began

// The server has gone for a moment: keep the camera and the recording, and connect again.
async function comeBack(reason) {
  const mine = ++starting;
  visit?.close();
  visit = null;
  forget();
  if (live()) { $("figures").textContent = ""; notify("This rtstyle starts again; the picture comes back in a moment.", 0); } else $("problem").textContent = reason;
  try {
    await answering();
  } catch (error) {
    if (mine === starting) end(error.message);
    return;
  }
  if (mine !== starting) return;
  notify("");
  if (own.has(settings.style)) waitingStyle = settings.style;
  start();
}

function end(reason) {
  starting++;
  finishRecording();
  page.dataset.state = "welcome";
  $("handle").hidden = true;
  $("figures").textContent = "";
  notify("");
  $("problem").textContent = reason;
  stop(source);
  visit?.close();
  visit = source = null;
  $("camera").srcObject = null;
  if (own.has(settings.style) && !vectors.has(settings.style)) waitingStyle = settings.style;
  forget();
  settings = { ...settings, pause: false, split: null };
  $("start").disabled = false;
  showProgress(null);
  enable();
  if (about.gallery.length) showGallery(about.gallery.concat(paintsHere() ? gallery.filter((row) => vectors.has(row.name)) : []));
}

function forget() {
  for (const url of faces.values()) URL.revokeObjectURL(url);
  faces.clear();
}

// ---- the camera -------------------------------------------------------------------------------

const wishes = () => ({ id: $("cameras").value, height: Number($("height").value), facing: remembered("facing", "user") });

function watchCamera(stream) {
  if ($("camera").srcObject === stream) return;
  $("camera").srcObject = stream;
  $("camera").play().catch(() => {}); // by itself only what is visible plays
  stream.getVideoTracks()[0].addEventListener("ended", () => {
    if (source !== stream || file) return;
    notify("The camera was unplugged or taken away. Plug it in again, or choose another.", 0);
    recover(stream);
  });
}

// Try again until the camera that was lost, or another, is there.
async function recover(lost) {
  while (source === lost) {
    await new Promise((resolve) => { setTimeout(resolve, 1500); });
    if (source !== lost) return;
    const next = await openCamera(wishes()).catch(() => openCamera({ height: wishes().height })).catch(() => null);
    if (!next) continue;
    if (source !== lost) { stop(next); return; }
    await changeSource(next);
    notify("The camera is back.");
  }
}

async function changeSource(next) {
  const last = source;
  source = next;
  watchCamera(next);
  await visit?.replaceSource(next);
  stop(last);
  await listCameras();
}

async function changeCamera() {
  if (!live() || about.mode === "watch") return;
  try {
    file = null;
    // some cameras open once only: a different size of the same one is asked of its own track
    const track = source.getVideoTracks()[0];
    const { id, height } = wishes();
    if (id && track.getSettings().deviceId === id) {
      await track.applyConstraints({ width: { ideal: Math.round((height * 16) / 9) }, height: { ideal: height } });
    } else {
      await changeSource(await openCamera(wishes()));
    }
  } catch (error) {
    notify(error.message);
  }
}

async function listCameras() {
  const devices = await cameras();
  const now = source?.getVideoTracks()[0]?.getSettings().deviceId ?? $("cameras").value;
  $("cameras").replaceChildren(...(devices.length
    ? devices.map((device, i) => new Option(device.label || `Camera ${i + 1}`, device.deviceId, false, device.deviceId === now))
    : [new Option("no camera", "")]));
  $("cameras").disabled = devices.length < 2;
  $("flip").hidden = devices.length < 2 || !matchMedia("(pointer: coarse)").matches;
}

async function paintFile(chosen) {
  if (!chosen) return;
  try {
    await greeted();
    if (about.mode === "watch") return;
    const next = await openFile(chosen);
    file = chosen;
    if (!chosenMirror && settings.mirror) { settings = { ...settings, mirror: false }; visit?.perform("mirror off"); }
    if (live()) await changeSource(next);
    else { source = next; await start(); }
  } catch (error) {
    if (live()) notify(error.message); else $("problem").textContent = error.message;
  }
}

// ---- what is shown ----------------------------------------------------------------------------

// What this visitor may do: watch a shared run, control it with the host's key, or bring a camera.
function greet(hello) {
  about = { ...about, ...hello };
  page.dataset.mode = about.mode;
  page.dataset.controls = about.controls;
  const may = (paintsHere() ? about.here.any : about.uploads) && !KIOSK;
  $("drop").hidden = !may;
  $("nodrop").hidden = may || !about.controls || KIOSK;
  $("open").hidden = about.mode === "watch" || KIOSK || is("clean");
  document.querySelector('[data-drop="source"]').hidden = $("open").hidden;
  $("setup").hidden = about.mode === "watch";
  $("scene").replaceChildren(new Option("none", ""), ...(about.scenes ?? []).map((name) => new Option(name)));
  enable();
}

function enable() {
  $("scenes").hidden = !about.controls || paintsHere() || !about.scenes?.length;
  for (const id of ["pause", "mirror", "split"]) $(id).disabled = !live() || !about.controls;
  for (const id of ["snapshot", "record", "stop"]) $(id).disabled = !live();
  for (const id of ["strength", "color"]) $(id).disabled = !about.controls;
  $("cutout-label").hidden = !canCutOut();
}

let noticeTimer = 0;
let standing = ""; // what is wrong for as long as it is
function notify(sentence, seconds = 5) {
  clearTimeout(noticeTimer);
  noticeTimer = 0;
  $("notice").textContent = sentence || standing;
  if (sentence && seconds) noticeTimer = setTimeout(() => { noticeTimer = 0; $("notice").textContent = standing; }, seconds * 1000);
}

function showProgress(text, share = 0) {
  const bar = $("progress");
  bar.hidden = text === null || live();
  if (bar.hidden) return;
  bar.firstElementChild.style.setProperty("--done", `${Math.round(share * 100)}%`);
  bar.setAttribute("aria-valuenow", Math.round(share * 100));
  bar.lastElementChild.textContent = text;
}

let age = 0; // of what is shown, in milliseconds: at first the latency, at last an interval more
function showFigures(now) {
  age = now.latency + (now.fps ? 500 / now.fps : 0);
  const where = now.where ? ` · ${now.where}` : "";
  $("figures").textContent = `${now.fps.toFixed(0)} fps · ${now.latency ? `${Math.round(now.latency)} ms` : "…"}${where}`;
  if (now.notice !== standing) { standing = now.notice; if (!noticeTimer) notify(""); }
}

const title = (name) => (name.startsWith("“") ? name : name.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase()));
// "Francis Picabia, Udnie (1913): hard-edged …" → "Francis Picabia, 1913"
function maker(sentence) {
  const [, painter, year] = sentence.match(/^([^,:]{3,40}), [^:]*?\((?:c\. ?)?(\d{4})[^)]*\)/) ?? [];
  return painter ? `${painter}, ${year}` : "";
}

const ordered = () => [...gallery].sort((a, b) => favourites.has(b.name) - favourites.has(a.name));
const thumbnail = (row) => faces.get(row.name) ?? own.get(row.name)?.url
  ?? (row.own ? null : row.thumbnail ?? `thumbnails/${encodeURIComponent(row.name)}`);

function showGallery(rows) {
  gallery = rows;
  if (!gallery.some((row) => row.name === settings.style)) {
    const first = (gallery.find((row) => row.name === about.settings?.style) ?? gallery[0])?.name ?? null;
    if (!visit) settings = { ...settings, style: first, partner: null, blend: 0 };
  }
  const scroll = $("gallery").scrollTop;
  const focused = document.activeElement?.dataset?.name;
  $("gallery").replaceChildren(...ordered().map(tile));
  $("gallery").scrollTop = scroll;
  if (focused) $("gallery").querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
  showSettings(settings);
}

function tile(row, i) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.className = "style";
  button.dataset.name = row.name;
  button.title = row.about;
  const image = document.createElement("img");
  image.alt = "";
  image.loading = "lazy";
  image.onload = () => image.classList.add("there");
  const place = thumbnail(row);
  if (place) image.src = place;
  const label = document.createElement("span");
  label.className = "caption";
  label.append(Object.assign(document.createElement("b"), { textContent: title(row.name) }));
  if (maker(row.about)) label.append(Object.assign(document.createElement("small"), { textContent: maker(row.about) }));
  button.append(image, label);
  if (i < 9) button.append(Object.assign(document.createElement("i"), { textContent: i + 1, ariaHidden: "true" }));
  button.disabled = !about.controls;
  button.onclick = () => perform(`style ${row.name}`);
  const star = document.createElement("button");
  star.className = "star";
  star.setAttribute("aria-pressed", favourites.has(row.name));
  star.setAttribute("aria-label", `Favourite: ${title(row.name)}`);
  star.textContent = "★";
  star.onclick = () => {
    if (!favourites.delete(row.name)) favourites.add(row.name);
    remember("favourites", [...favourites]);
    showGallery(gallery);
  };
  item.append(button, star);
  return item;
}

const showChosen = () => document.querySelector('.style[aria-pressed="true"]')?.scrollIntoView({ block: "nearest", inline: "center" });
let shownStyle = null;
function showSettings(now) {
  settings = { ...settings, ...now };
  remember("settings", chosenMirror ? settings : { ...settings, mirror: undefined });
  const mine = gallery.find((row) => row.name === settings.style);
  for (const button of $("gallery").querySelectorAll(".style")) {
    const chosen = button.dataset.name === settings.style;
    button.setAttribute("aria-pressed", chosen);
  }
  if (shownStyle !== settings.style) showChosen();
  shownStyle = settings.style;
  const mixing = settings.partner && settings.blend > 0;
  $("current").textContent = !settings.style ? "" : mixing ? `${title(settings.style)} × ${title(settings.partner)}` : title(settings.style);
  setSlider("strength", settings.strength);
  setSlider("blend", settings.blend);
  const relatives = gallery.filter((row) => mine && row.family === mine.family && row.name !== mine.name);
  $("partner").replaceChildren(...(relatives.length
    ? relatives.map((row) => new Option(title(row.name), row.name, false, row.name === settings.partner))
    : [new Option("no style of the same model", "")]));
  $("blend").disabled = $("partner").disabled = !relatives.length || !about.controls;
  $("mix").classList.toggle("off", $("blend").disabled);
  $("color").checked = settings.color;
  $("cutout").checked = settings.cutout;
  page.toggleAttribute("data-cutout", Boolean(settings.cutout && canCutOut()));
  $("scene").value = settings.scene ?? "";
  press("pause", settings.pause);
  press("mirror", settings.mirror);
  press("split", settings.split !== null);
  placeHandle();
}

function setSlider(id, share) {
  const slider = $(id);
  if (document.activeElement !== slider || !slider.matches(":active")) slider.value = Math.round(share * 100);
  slider.style.setProperty("--fill", `${slider.value}%`);
  $(`${id}-value`).textContent = `${slider.value}%`;
}

function press(id, on) { $(id).setAttribute("aria-pressed", Boolean(on)); }

// Thumbnails of the viewer's own face, one after the other, so that painting does not suffer.
async function showFaces(mine) {
  if (about.mode === "watch" || file || navigator.connection?.saveData) return;
  for (const row of ordered()) {
    const url = await visit?.thumbnail(row.name).catch(() => null);
    if (mine !== starting || !live()) { if (url) URL.revokeObjectURL(url); return; }
    if (url) {
      faces.set(row.name, url);
      const image = $("gallery").querySelector(`[data-name="${CSS.escape(row.name)}"] img`);
      if (image) image.src = url;
    }
    await new Promise((resolve) => { setTimeout(resolve, 250); });
  }
  if (about.site && about.here.any) await visit.fetchAnyPicture().catch(() => {}); // for a visit without a network
}

// Around the picture, its own colours, a few times a second.
const glow = $("glow").getContext("2d", { alpha: false });
setInterval(() => {
  if (!live() || !sizeOf(shown())[0] || is("clean")) return;
  glow.globalAlpha = 0.3; // so that they change slowly
  glow.drawImage(shown(), 0, 0, 16, 9);
}, 200);

function fitFrame() {
  const [width, height] = sizeOf(shown());
  if (width) $("frame").style.setProperty("--aspect", `${width} / ${height}`);
  placeHandle();
}
for (const id of ["painted", "canvas"]) $(id).addEventListener("resize", fitFrame);
addEventListener("resize", placeHandle);

// Where the picture lies inside its frame, in pixels from the frame's left edge.
function pictureBox() {
  const [w, h] = sizeOf(shown());
  const width = $("frame").clientWidth, height = $("frame").clientHeight;
  const seen = (w || 16) * Math.min(width / (w || 16), height / (h || 9));
  return { left: (width - seen) / 2, width: seen };
}

function placeHandle() {
  const on = live() && typeof settings.split === "number" && about.controls;
  $("handle").hidden = !on;
  if (!on) return;
  const box = pictureBox();
  $("handle").style.left = `${box.left + settings.split * box.width}px`;
  $("handle").setAttribute("aria-valuenow", Math.round(settings.split * 100));
}

// ---- what is done -----------------------------------------------------------------------------

// While a slider moves, at most one command every 40 ms, and always the last one.
function throttled(act) {
  let waiting = null, busy = false;
  return (value) => {
    if (busy) { waiting = { value }; return; }
    act(value);
    busy = true;
    setTimeout(() => { busy = false; if (waiting) { const last = waiting.value; waiting = null; act(last); } }, 40);
  };
}

const moveSplit = throttled((share) => perform(`split ${share.toFixed(3)}`));
function dragSplit(event) {
  const box = pictureBox();
  const x = event.clientX - $("frame").getBoundingClientRect().left;
  settings = { ...settings, split: Math.min(1, Math.max(0, (x - box.left) / box.width)) };
  placeHandle();
  moveSplit(settings.split);
}
$("handle").addEventListener("pointerdown", (event) => {
  $("handle").setPointerCapture(event.pointerId);
  $("handle").onpointermove = dragSplit;
});
for (const kind of ["pointerup", "pointercancel"]) $("handle").addEventListener(kind, () => { $("handle").onpointermove = null; });
$("handle").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -0.05, ArrowRight: 0.05 }[event.key];
  if (!step) return;
  event.preventDefault();
  event.stopPropagation();
  perform(`split ${Math.min(1, Math.max(0, settings.split + step)).toFixed(3)}`);
});

for (const id of ["strength", "blend"]) {
  const send = throttled((value) => perform(`${id} ${value / 100}`));
  $(id).addEventListener("input", () => {
    $(id).style.setProperty("--fill", `${$(id).value}%`);
    $(`${id}-value`).textContent = `${$(id).value}%`;
    send(Number($(id).value));
  });
}
$("partner").onchange = () => perform(`with ${$("partner").value}`);
$("scene").onchange = () => { if ($("scene").value) perform(`scene ${$("scene").value}`); };
for (const step of ["previous", "next"]) $(`scene-${step}`).onclick = () => perform(`scene ${step}`);
$("cutout").onchange = () => perform(`cutout ${$("cutout").checked ? "on" : "off"}`);
$("color").onchange = () => perform(`color ${$("color").checked ? "on" : "off"}`);
for (const id of ["pause", "mirror", "split"]) $(id).onclick = () => perform(id);
$("start").onclick = () => { file = null; start(); };
$("stop").onclick = () => end("");
$("snapshot").onclick = snapshot;
$("record").onclick = toggleRecord;
$("cameras").onchange = changeCamera;
$("height").onchange = () => { remember("height", $("height").value); changeCamera(); };
$("media").onchange = () => { paintFile($("media").files[0]); $("media").value = ""; };
$("flip").onclick = async () => {
  remember("facing", remembered("facing", "user") === "user" ? "environment" : "user");
  chosenMirror = false;
  try {
    await changeSource(await openCamera({ height: wishes().height, facing: remembered("facing", "user") }));
    perform(`mirror ${isFront(source) ? "on" : "off"}`);
  } catch (error) { notify(error.message); }
};
$("where").onchange = () => {
  const [where, by] = $("where").value.split("-");
  remember("where", where);
  remember("backend", by ?? null);
  if (live()) { const again = source; source = null; end(""); source = again; start(); }
  greet({});
};

function openMenu(open) {
  $("menu").hidden = !open;
  $("setup").setAttribute("aria-expanded", open);
}
$("setup").onclick = () => openMenu($("menu").hidden);
addEventListener("pointerdown", (event) => { if (!event.target.closest?.("#menu, #setup")) openMenu(false); });

function goFull(on) {
  if (on) page.dataset.full = ""; else delete page.dataset.full;
  press("full", on);
  if (on) document.documentElement.requestFullscreen?.().catch(() => {}); // the page fills its window at least
  else if (document.fullscreenElement) document.exitFullscreen();
  requestAnimationFrame(() => { placeHandle(); showChosen(); });
}
$("full").onclick = () => goFull(!("full" in page.dataset));
document.addEventListener("fullscreenchange", () => { if (!document.fullscreenElement && !KIOSK) goFull(false); });

let idleTimer = 0;
function stir() {
  delete page.dataset.idle;
  clearTimeout(idleTimer);
  idleTimer = setTimeout(() => { if (!$("bar").querySelector(":focus-visible") && $("menu").hidden) page.dataset.idle = ""; }, 3500);
  clearTimeout(kioskTimer);
  if (KIOSK) kioskTimer = setTimeout(startAfresh, IDLE_SECONDS * 1000);
}
let kioskTimer = 0;
for (const kind of ["pointermove", "pointerdown", "keydown"]) addEventListener(kind, stir);

// A kiosk for the next visitor: as it began.
function startAfresh() {
  for (const command of commandsFor(beginning(), gallery)) perform(command);
  if (settings.cutout && canCutOut()) perform(`cutout ${beginning().cutout ? "on" : "off"}`);
  if (settings.split !== null) perform("split off");
  if (settings.pause) perform("pause off");
}

async function snapshot() {
  try {
    notify("The snapshot is painted …", 0);
    const canvas = await visit.snapshot();
    canvas.toBlob((blob) => { if (blob) { save(blob, "png"); notify("The snapshot is among your downloads."); } });
  } catch (error) {
    notify(error.message);
  }
}

async function toggleRecord() {
  if (recording) { await finishRecording(); return; }
  try {
    let microphone = null;
    if ($("microphone").checked) microphone = await openMicrophone().catch((error) => { notify(error.message); return null; });
    recording = new Recording(shown, sizeOf(shown()), microphone, () => age);
    press("record", true);
    const tick = () => {
      if (!recording) return;
      const s = Math.floor(recording.seconds);
      $("timer").textContent = `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
    };
    tick();
    $("timer").hidden = false;
    recording.clock = setInterval(tick, 250);
  } catch (error) {
    notify(error.message);
  }
}

async function finishRecording() {
  const done = recording;
  recording = null;
  press("record", false);
  $("timer").hidden = true;
  if (!done) return;
  clearInterval(done.clock);
  await done.finish();
  notify("The recording is among your downloads.");
}

// ---- pictures that are dropped ----------------------------------------------------------------

async function useAsStyle(picture) {
  if (!picture || $("drop").hidden) return;
  if (!visit) { // before Start: kept until then
    if (!picture.type.startsWith("image/")) { $("problem").textContent = "A JPEG, PNG or WebP picture was expected."; return; }
    waitingStyle = picture.name;
    own.set(waitingStyle, { file: picture, url: URL.createObjectURL(picture) });
    $("problem").textContent = "";
    $("current").textContent = `“${picture.name.replace(/\.[^.]*$/, "")}”`;
    await start();
    return;
  }
  $("drop").classList.add("busy");
  notify("Looking at the picture …", 0);
  try {
    const name = await visit.addPicture(picture);
    own.set(name, { file: picture, url: URL.createObjectURL(picture) });
    showGallery(gallery);
    notify(`Painting like ${name}.`);
  } catch (error) {
    notify(error.message);
  } finally {
    $("drop").classList.remove("busy");
    $("file").value = "";
  }
}

$("file").onchange = () => useAsStyle($("file").files[0]);
let leaving = 0;
function showDropping(on) {
  clearTimeout(leaving);
  $("dropping").hidden = !on || ($("drop").hidden && $("open").hidden);
}
addEventListener("dragover", (event) => {
  event.preventDefault();
  if (!event.dataTransfer?.types.includes("Files")) return;
  showDropping(true);
  for (const zone of $("dropping").children) zone.classList.toggle("over", zone.contains(event.target));
});
addEventListener("dragleave", () => { clearTimeout(leaving); leaving = setTimeout(() => showDropping(false), 120); });
addEventListener("drop", (event) => {
  event.preventDefault();
  const zone = event.target.closest?.("[data-drop]")?.dataset.drop;
  const dropped = event.dataTransfer?.files[0];
  showDropping(false);
  if (!dropped) return;
  if (zone === "source" || dropped.type.startsWith("video/") || $("drop").hidden) paintFile(dropped);
  else useAsStyle(dropped);
});

// ---- keys -------------------------------------------------------------------------------------

function neighbour(step) {
  const rows = ordered();
  const at = rows.findIndex((row) => row.name === settings.style);
  if (rows.length) perform(`style ${rows[(at + step + rows.length) % rows.length].name}`);
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const on = event.target;
  if (event.key === "Escape") { openMenu(false); if ("full" in page.dataset && !KIOSK) goFull(false); return; }
  const slides = on.matches?.("input[type=range]"); // which wants the arrows for itself
  if (on.matches?.("select") || (slides && /^(Arrow|Home|End|Page)/.test(event.key))) return;
  const act = {
    ArrowRight: () => neighbour(+1), ArrowLeft: () => neighbour(-1), ArrowDown: () => neighbour(+1), ArrowUp: () => neighbour(-1),
    c: () => perform("color"), s: () => perform("split"), m: () => perform("mirror"),
    p: () => $("snapshot").click(), r: () => $("record").click(), f: () => $("full").click(),
  }[event.key];
  if (KIOSK && "prf".includes(event.key)) return;
  if (!live() && !event.key.startsWith("Arrow") && !/^[1-9f]$/.test(event.key)) return;
  if (event.key === " " && !on.matches?.("button, input")) perform("pause");
  else if (/^[1-9]$/.test(event.key) && Number(event.key) <= gallery.length) perform(`style ${ordered()[Number(event.key) - 1].name}`);
  else if (act) act();
  else return;
  event.preventDefault();
  if (event.key.startsWith("Arrow") && on.matches?.(".style")) {
    setTimeout(() => document.querySelector('.style[aria-pressed="true"]')?.focus(), 120);
  }
});

// ---- the beginning ----------------------------------------------------------------------------

// What a visit begins with, of the address and of what the host set.
function beginning() {
  const share = (name, otherwise) => (asked.has(name) ? Math.min(1, Math.max(0, Number(asked.get(name)) || 0)) : otherwise);
  const kept = KIOSK ? {} : remembered("settings", {});
  const { record, ...host } = about.settings ?? {};
  return {
    ...INITIAL, ...host, ...kept, split: null, pause: false,
    ...(asked.has("style") ? { style: asked.get("style"), partner: null, blend: 0 } : {}),
    ...(asked.has("mirror") ? { mirror: is("mirror") } : {}),
    ...(asked.has("cutout") ? { cutout: is("cutout") } : {}),
    ...(asked.has("color") ? { color: is("color") } : {}),
    strength: share("strength", kept.strength ?? host.strength ?? 1),
  };
}

let greeting = null; // resolves once `about` is what the server says
function greeted() {
  greeting ??= greetings().catch(() => {
    greeting = null; // the next press asks again
    throw new Error("This rtstyle does not answer. Is it still running?");
  });
  return greeting;
}

async function greetings() {
  const response = await fetch(isSite ? "gallery.json" : "gallery");
  if (!response.ok) throw new Error();
  about = await response.json();
  about.site = isSite;
  if (about.here && navigator.gpu) {
    const adapter = await navigator.gpu.requestAdapter().catch(() => null);
    hasGpu = Boolean(adapter) && !adapter.isFallbackAdapter && !adapter.info?.isFallbackAdapter;
  }
  settings = about.mode === "watch" ? about.settings : beginning();
  greet({});
  showWhere();
  if (about.mode === "watch") {
    $("start").textContent = "Watch";
    $("lead").textContent = about.controls
      ? "A camera is being painted right now. Watch it, and choose how: you are the host."
      : "A camera is being painted right now. Watch it; its host chooses how.";
  } else if (paintsHere()) {
    $("lead").textContent = "Your camera is painted here, in your browser. No picture leaves this device.";
  }
  showGallery(about.gallery);
  $("height").value = remembered("height", "360");
  if (!is("clean")) showWall();
  if (about.mode !== "watch") await listCameras();
  if (KIOSK || is("autostart")) start();
}

function showWhere() {
  const options = [["here-webgpu", "here, by your GPU"], ["here-wasm", "here, by your processor"], ["server", "by the server"]];
  const possible = options.filter(([value]) => (value === "server" ? !about.site && about.paint !== "here"
    : about.here && (value !== "here-webgpu" || navigator.gpu)));
  $("where-label").hidden = about.mode === "watch" || possible.length < 2;
  const now = paintsHere() ? `here-${visit?.backend ?? backend()}` : "server";
  $("where").replaceChildren(...possible.map(([value, text]) => new Option(text, value, false, value === now)));
}

function showWall() {
  const wall = document.createElement("div");
  wall.className = "wall";
  wall.setAttribute("aria-hidden", "true");
  for (let i = 0; i < 16 && about.gallery.length; i++) {
    const image = document.createElement("img");
    image.alt = "";
    image.onload = () => image.classList.add("there");
    image.src = thumbnail(about.gallery[(i + (i >> 2)) % about.gallery.length]);
    wall.append(image);
  }
  $("welcome").prepend(wall);
}

if (is("clean")) page.dataset.clean = "";
if (KIOSK) { page.dataset.kiosk = ""; page.dataset.full = ""; }
stir();
greeted().catch((error) => { $("problem").textContent = error.message; });
addEventListener("pagehide", () => { if (visit) end(""); });
