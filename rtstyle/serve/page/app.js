// The page of rtstyle: one socket for words, one WebRTC connection for pictures.

const $ = (id) => document.getElementById(id);
const video = $("painted");
const page = document.body;

let socket = null;
let peer = null;
let camera = null; // the MediaStream that we send
let recorder = null;
let viewer = "";
let gallery = [];
let settings = {};
let figures = null;
let roundTrip = 0;
const ownPictures = new Map(); // style name → object URL of the picture that was dropped

// ---- words ------------------------------------------------------------------------------------

function say(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

const controls = () => page.dataset.controls !== "false";
const perform = (command) => { if (controls()) say({ do: command }); };

// While a slider moves, at most one command every 40 ms, and always the last one.
function throttled(act) {
  let waiting = null;
  let busy = false;
  return (value) => {
    if (busy) { waiting = { value }; return; }
    act(value);
    busy = true;
    setTimeout(() => {
      busy = false;
      if (waiting) { const { value: last } = waiting; waiting = null; send(last); }
    }, 40);
  };
  function send(value) { act(value); }
}

function connect() {
  return new Promise((resolve, reject) => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.onerror = () => reject(new Error("This rtstyle does not answer. Is it still running?"));
    socket.onclose = () => {
      reject(new Error("This rtstyle ended the connection."));
      if (page.dataset.state === "live") end("The connection was lost.");
    };
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.full) reject(new Error(`It is full: ${message.full} are watching already. Try again in a while.`));
      if (message.hello) { greet(message.hello); resolve(message.hello); }
      if (message.gallery) showGallery(message.gallery);
      if (message.settings) showSettings(message.settings);
      if (message.figures) showFigures(message.figures);
      if (message.answer) peer?.setRemoteDescription({ type: "answer", sdp: message.answer });
      if (message.pong) roundTrip = performance.now() - message.pong;
      if (message.sorry) notify(message.sorry);
      if (message.goodbye) end(message.goodbye);
    };
  });
}

// What this visitor may do: watch a shared run, control it with the host's key, or bring a camera.
function greet(hello) {
  viewer = hello.viewer ?? viewer;
  page.dataset.mode = hello.mode;
  page.dataset.controls = hello.controls;
  $("drop").hidden = !hello.uploads;
  $("nodrop").hidden = hello.uploads || !hello.controls;
  for (const id of ["pause", "mirror", "split", "strength", "color"]) $(id).disabled = !hello.controls;
}

let noticeTimer = 0;
function notify(sentence, seconds = 5) {
  clearTimeout(noticeTimer);
  $("notice").textContent = sentence;
  if (seconds) noticeTimer = setTimeout(() => { $("notice").textContent = figures?.notice ?? ""; }, seconds * 1000);
}

// ---- pictures ---------------------------------------------------------------------------------

async function openCamera(id) {
  if (!navigator.mediaDevices) {
    throw new Error("This browser gives its camera only to https pages; start rtstyle with --tls-cert and --tls-key.");
  }
  const size = { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 30, max: 30 } };
  const which = id ? { deviceId: { exact: id } } : { facingMode: "user" };
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { ...size, ...which }, audio: false });
  } catch (error) {
    throw new Error({
      NotAllowedError: "The camera was not allowed. Allow it in the address bar, then start again.",
      NotFoundError: "No camera was found. Plug one in, then start again.",
      NotReadableError: "The camera is busy: another program is using it.",
    }[error.name] ?? `The camera cannot be opened (${error.name}).`);
  }
}

async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices() ?? []).filter((d) => d.kind === "videoinput");
  const now = camera?.getVideoTracks()[0]?.getSettings().deviceId;
  $("cameras").replaceChildren(...devices.map((device, i) =>
    new Option(device.label || `Camera ${i + 1}`, device.deviceId, false, device.deviceId === now)));
  $("choose").hidden = devices.length < 2 || page.dataset.mode === "watch";
}

async function negotiate() {
  peer = new RTCPeerConnection({ iceServers: [] });
  peer.ontrack = (event) => {
    video.srcObject = $("glow").srcObject = event.streams[0] ?? new MediaStream([event.track]);
  };
  peer.onconnectionstatechange = () => {
    if (peer?.connectionState === "failed") end("The video connection failed; a firewall may be in the way.");
  };
  if (camera) {
    const sender = peer.addTrack(camera.getVideoTracks()[0], camera);
    sender.track.contentHint = "motion";
  } else {
    peer.addTransceiver("video", { direction: "recvonly" });
  }
  await peer.setLocalDescription();
  await gathered(peer);
  say({ offer: peer.localDescription.sdp });
}

function gathered(connection) {
  if (connection.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const check = () => { if (connection.iceGatheringState === "complete") resolve(); };
    connection.addEventListener("icegatheringstatechange", check);
    setTimeout(resolve, 2000);
  });
}

async function start() {
  $("start").disabled = true;
  $("problem").textContent = "";
  try {
    if (page.dataset.mode !== "watch") {
      // before connecting: a seat is not held while somebody thinks about the permission
      camera = await openCamera($("cameras").value);
      await listCameras();
    }
    await connect();
    await negotiate();
    await playing();
    page.dataset.state = "live";
  } catch (error) {
    end("");
    $("problem").textContent = error.message;
  } finally {
    $("start").disabled = false;
  }
}

function playing() {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("No painted picture came within 30 seconds.")), 30000);
    const lost = () => { clearTimeout(late); reject(new Error($("problem").textContent || "The connection was lost.")); };
    socket.addEventListener("close", lost, { once: true });
    video.addEventListener("playing", () => { clearTimeout(late); resolve(); }, { once: true });
  });
}

function end(reason) {
  if (recorder) toggleRecord();
  page.dataset.state = "welcome";
  $("handle").hidden = true;
  $("figures").textContent = "";
  $("notice").textContent = "";
  $("problem").textContent = reason;
  camera?.getTracks().forEach((track) => track.stop());
  peer?.close();
  const last = socket;
  socket = null; peer = null; camera = null; figures = null;
  if (last) { last.onclose = null; last.close(); }
  video.srcObject = $("glow").srcObject = null;
}

video.addEventListener("resize", () => {
  $("frame").style.setProperty("--aspect", `${video.videoWidth} / ${video.videoHeight}`);
  placeHandle();
});
addEventListener("resize", placeHandle);

// ---- what is shown ----------------------------------------------------------------------------

const title = (name) => name.startsWith("“") ? name : name.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase());

function showGallery(rows) {
  gallery = rows;
  const children = rows.map((row, i) => {
    const button = document.createElement("button");
    button.className = "style";
    button.dataset.name = row.name;
    button.setAttribute("role", "radio");
    button.title = row.about;
    const image = document.createElement("img");
    image.alt = "";
    image.loading = "lazy";
    image.onload = () => image.classList.add("there");
    image.src = ownPictures.get(row.name) ?? `thumbnails/${encodeURIComponent(row.name)}`;
    const label = document.createElement("b");
    label.textContent = title(row.name);
    button.append(image, label);
    if (i < 9) {
      const number = document.createElement("i");
      number.textContent = i + 1;
      number.setAttribute("aria-hidden", "true");
      button.append(number);
    }
    button.disabled = !controls();
    button.onclick = () => perform(`style ${row.name}`);
    return button;
  });
  $("gallery").replaceChildren(...children);
  showSettings(settings);
}

function showSettings(now) {
  settings = now;
  if (!now.style) return;
  const mine = gallery.find((row) => row.name === now.style);
  for (const button of $("gallery").children) {
    const chosen = button.dataset.name === now.style;
    if (chosen && button.getAttribute("aria-checked") !== "true") {
      button.scrollIntoView({ block: "nearest", inline: "center" });
    }
    button.setAttribute("aria-checked", chosen);
    button.tabIndex = chosen || (!mine && button === $("gallery").firstChild) ? 0 : -1;
  }
  const mixing = now.partner && now.blend > 0;
  $("current").textContent = mixing ? `${title(now.style)} × ${title(now.partner)}` : title(now.style);
  setSlider("strength", now.strength);
  setSlider("blend", now.blend);
  const relatives = gallery.filter((row) => mine && row.family === mine.family && row.name !== mine.name);
  $("partner").replaceChildren(...(relatives.length
    ? relatives.map((row) => new Option(title(row.name), row.name, false, row.name === now.partner))
    : [new Option("no style of the same model", "")]));
  $("blend").disabled = $("partner").disabled = !relatives.length || !controls();
  $("mix").classList.toggle("off", $("blend").disabled);
  $("color").checked = now.color;
  press("pause", now.pause);
  press("mirror", now.mirror);
  press("split", now.split !== null);
  placeHandle();
}

function setSlider(id, share) {
  const slider = $(id);
  if (document.activeElement !== slider || !slider.matches(":active")) slider.value = Math.round(share * 100);
  slider.style.setProperty("--fill", `${slider.value}%`);
  $(`${id}-value`).textContent = `${slider.value}%`;
}

function press(id, on) { $(id).setAttribute("aria-pressed", Boolean(on)); }

function showFigures(now) {
  figures = now;
  const latency = now.latency_ms ? `${Math.round(now.latency_ms + roundTrip)} ms` : "…";
  $("figures").textContent = `${now.fps.toFixed(0)} fps · ${latency}`;
  if (now.notice) notify(now.notice, 0);
  else if ($("notice").textContent && !noticeTimer) notify("", 0);
  say({ ping: performance.now() });
}

// Where the picture lies inside its frame, in pixels from the frame's left edge.
function pictureBox() {
  const width = $("frame").clientWidth, height = $("frame").clientHeight;
  const factor = Math.min(width / (video.videoWidth || 16), height / (video.videoHeight || 9));
  const shown = (video.videoWidth || 16) * factor;
  return { left: (width - shown) / 2, width: shown };
}

function placeHandle() {
  const on = page.dataset.state === "live" && typeof settings.split === "number";
  $("handle").hidden = !on;
  if (!on) return;
  const box = pictureBox();
  $("handle").style.left = `${box.left + settings.split * box.width}px`;
  $("handle").setAttribute("aria-valuenow", Math.round(settings.split * 100));
}

// ---- what is done -----------------------------------------------------------------------------

const moveSplit = throttled((share) => perform(`split ${share.toFixed(3)}`));

function dragSplit(event) {
  const box = pictureBox();
  const x = event.clientX - $("frame").getBoundingClientRect().left;
  if (!controls()) return;
  settings = { ...settings, split: Math.min(1, Math.max(0, (x - box.left) / box.width)) };
  placeHandle();
  moveSplit(settings.split);
}

$("handle").addEventListener("pointerdown", (event) => {
  $("handle").setPointerCapture(event.pointerId);
  $("handle").onpointermove = dragSplit;
});
$("handle").addEventListener("pointerup", () => { $("handle").onpointermove = null; });
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
$("color").onchange = () => perform(`color ${$("color").checked ? "on" : "off"}`);
for (const id of ["pause", "mirror", "split"]) $(id).onclick = () => perform(id);
$("start").onclick = start;
$("stop").onclick = () => end("");
$("snapshot").onclick = snapshot;
$("record").onclick = toggleRecord;
$("full").onclick = () => document.fullscreenElement ? document.exitFullscreen() : $("frame").requestFullscreen?.();
$("cameras").onchange = () => { if (page.dataset.state === "live") changeCamera(); };

async function changeCamera() {
  const next = await openCamera($("cameras").value);
  const sender = peer.getSenders().find((s) => s.track?.kind === "video");
  await sender.replaceTrack(next.getVideoTracks()[0]);
  camera.getTracks().forEach((track) => track.stop());
  camera = next;
}

function save(blob, suffix) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `rtstyle-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function snapshot() {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => { if (blob) { save(blob, "png"); notify("The snapshot is among your downloads."); } });
}

function toggleRecord() {
  if (recorder) {
    recorder.stop();
    recorder = null;
    press("record", false);
    return;
  }
  const kind = ["video/mp4;codecs=avc1", "video/webm;codecs=vp9", "video/webm"].find((k) => globalThis.MediaRecorder?.isTypeSupported(k));
  if (!kind || !video.srcObject) { notify("This browser cannot record."); return; }
  const parts = [];
  recorder = new MediaRecorder(video.srcObject, { mimeType: kind, videoBitsPerSecond: 6_000_000 });
  recorder.ondataavailable = (event) => { if (event.data.size) parts.push(event.data); };
  recorder.onstop = () => {
    save(new Blob(parts, { type: kind }), kind.startsWith("video/mp4") ? "mp4" : "webm");
    notify("The recording is among your downloads.");
  };
  recorder.start(1000);
  press("record", true);
}

// ---- a picture of one's own -------------------------------------------------------------------

async function useAsStyle(file) {
  if (!file || $("drop").hidden) return;
  if (!socket) { notify("Start first, then drop a picture."); return; }
  $("drop").classList.add("busy");
  notify("Looking at the picture …", 0);
  try {
    const query = new URLSearchParams({ viewer, name: file.name });
    const response = await fetch(`paintings?${query}`, { method: "POST", body: file });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.sorry ?? `The picture was refused (${response.status}).`);
    ownPictures.set(answer.name, URL.createObjectURL(file));
    showGallery(gallery);
    notify(`Painting like ${answer.name}.`);
  } catch (error) {
    notify(error instanceof TypeError ? "The picture is too large, or the connection was lost." : error.message);
  } finally {
    $("drop").classList.remove("busy");
    $("file").value = "";
  }
}

$("file").onchange = () => useAsStyle($("file").files[0]);
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) {
  addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.remove("over"); });
}
addEventListener("drop", (event) => useAsStyle(event.dataTransfer?.files[0]));

// ---- keys -------------------------------------------------------------------------------------

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || page.dataset.state !== "live") return;
  const on = event.target;
  const typing = on.matches?.("select, input:not([type=checkbox])");
  if (typing) return;
  const act = {
    ArrowRight: () => perform("next"), ArrowLeft: () => perform("previous"),
    ArrowDown: () => perform("next"), ArrowUp: () => perform("previous"),
    c: () => perform("color"), s: () => perform("split"), m: () => perform("mirror"),
    p: snapshot, r: toggleRecord, f: () => $("full").click(),
  }[event.key];
  if (event.key === " " && !on.matches?.("button, input")) perform("pause");
  else if (/^[1-9]$/.test(event.key) && Number(event.key) <= gallery.length) perform(`style ${event.key}`);
  else if (act) act();
  else return;
  event.preventDefault();
  if (event.key.startsWith("Arrow") && on.matches?.(".style")) {
    setTimeout(() => document.querySelector('.style[aria-checked="true"]')?.focus(), 120);
  }
});

// ---- the beginning ----------------------------------------------------------------------------

async function greetings() {
  const response = await fetch("gallery");
  const answer = await response.json();
  greet(answer);
  if (answer.mode === "watch") {
    $("start").textContent = "Watch";
    $("lead").textContent = answer.controls
      ? "A camera is being painted right now. Watch it, and choose how: you are the host."
      : "A camera is being painted right now. Watch it; its host chooses how.";
  }
  settings = answer.settings;
  showGallery(answer.gallery);
  const wall = document.createElement("div");
  wall.className = "wall";
  wall.setAttribute("aria-hidden", "true");
  for (let i = 0; i < 16 && answer.gallery.length; i++) {
    const image = document.createElement("img");
    image.alt = "";
    image.onload = () => image.classList.add("there");
    image.src = `thumbnails/${encodeURIComponent(answer.gallery[(i + (i >> 2)) % answer.gallery.length].name)}`;
    wall.append(image);
  }
  $("welcome").prepend(wall);
  await listCameras();
}

greetings().catch(() => { $("problem").textContent = "This rtstyle does not answer. Is it still running?"; });
addEventListener("pagehide", () => end(""));
