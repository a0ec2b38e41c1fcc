// A visit whose pictures are painted in this browser and never leave it. Has the methods of
// `ServerVisit` in server.js.

import { changed } from "./controls.js";
import { decodePicture } from "./camera.js";

const HEIGHT = { webgpu: 360, wasm: 180 }; // of the picture that the net paints
const GIVEN_UP = 3; // failures in a row, after which the GPU is left alone, or the visit ends

export class LocalVisit {
  // `plan` is what rtstyle/web/plan.py writes: the runtime, the models, each style's vector; `vectors`
  // has those of the viewer's own pictures.
  constructor(on, view, plan, { settings, gallery, backend, height, vectors }) {
    Object.assign(this, { on, view, plan, settings, gallery, height, vectors });
    this.wishes = backend === "wasm" ? ["wasm"] : ["webgpu", "wasm"];
    this.context = view.getContext("2d");
    this.video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
    this.answers = new Map();
    this.number = 0;
    this.times = [];
    this.closed = false;
  }

  async start(stream, commands) {
    for (const command of commands) this.perform(command);
    await Promise.all([this.open(), this.replaceSource(stream)]);
    this.on.progress("The first picture is painted …", 0.95);
    await this.nextPicture(); // what a camera shows before its first is grey
    await this.step();
    if (this.closed) return;
    if (this.sorry) this.on.notice(this.sorry);
    this.run();
  }

  // Open the first backend that works.
  async open() {
    this.shown = this.settings;
    for (;;) {
      this.backend = this.wishes[0];
      const { model } = this.row(this.settings.style);
      this.worker?.terminate();
      this.fail("The worker ended.");
      this.worker = new Worker(new URL("engine.js", document.baseURI), { type: "module" });
      this.worker.onmessage = ({ data }) => this.receive(data);
      this.worker.onerror = (event) => this.fail(event.message || "The worker ended.");
      this.on.progress("The net is loaded …", 0.2);
      try {
        await this.ask("open", { backend: this.backend, base: document.baseURI, plan: this.plan, model });
        this.models = new Set([model]); // that can paint at once
        return;
      } catch (error) {
        if (this.wishes.length < 2) throw new Error(`This browser cannot paint: ${error.message}`);
        this.wishes.shift();
        this.sorry = "The GPU cannot paint here; the processor does.";
      }
    }
  }

  // Every question gets this as its answer.
  fail(reason) {
    for (const { reject } of this.answers.values()) reject(new Error(reason));
    this.answers.clear();
  }

  receive({ id, loaded, error, ...answer }) {
    if (loaded !== undefined) { this.on.progress("The net is loaded …", 0.2 + 0.7 * loaded); return; }
    const waiting = this.answers.get(id);
    this.answers.delete(id);
    if (error) waiting?.reject(new Error(error)); else waiting?.resolve(answer);
  }

  ask(what, message, transfer = []) {
    const id = ++this.number;
    const answer = new Promise((resolve, reject) => { this.answers.set(id, { resolve, reject }); });
    this.worker.postMessage({ id, do: what, ...message }, transfer);
    return answer;
  }

  // A style's row of the gallery; the processor paints with the lighter model where there is one.
  row(name) {
    const row = this.gallery.find((one) => one.name === name) ?? this.gallery[0];
    const light = this.backend === "wasm" && this.plan.models[row.model]?.light;
    return light ? { ...row, model: light } : row;
  }

  vector(row) { return this.vectors.get(row.name) ?? row.vector ?? null; }

  // What the net gets for the settings: model, vector, strength, colours.
  look(settings) {
    const row = this.row(settings.style);
    const partner = this.gallery.find((one) => one.name === settings.partner);
    let vector = this.vector(row);
    if (vector && partner?.family === row.family && settings.blend > 0) {
      const other = this.vector(partner);
      vector = vector.map((value, i) => value * (1 - settings.blend) + other[i] * settings.blend);
    }
    return { model: row.model, vector, strength: settings.strength, color: settings.color, cutout: Boolean(settings.cutout && this.plan.masks) };
  }

  size(height) {
    const { videoWidth, videoHeight } = this.video;
    const rows = Math.max(32, Math.min(height, videoHeight));
    return { width: Math.max(32, Math.round((rows * videoWidth) / videoHeight)), height: rows };
  }

  async run() {
    let failures = 0;
    while (!this.closed) {
      try {
        await this.nextPicture();
        await this.step();
        failures = 0;
      } catch (error) {
        if (this.closed) return;
        // The GPU was lost, or memory ran out: a runtime that failed once may wait for ever, so a
        // new worker tries again.
        const failed = this.backend;
        if (++failures >= GIVEN_UP && this.wishes.length > 1) { this.wishes.shift(); failures = 0; }
        if (failures >= GIVEN_UP) { this.end(error.message); return; }
        await this.open().catch((reason) => this.end(reason.message));
        this.on.notice(this.backend === failed ? "Painting failed, and was begun anew." : "The GPU was lost; the processor paints from here on.");
      }
    }
  }

  nextPicture() {
    return new Promise((resolve) => {
      const late = setTimeout(resolve, 500); // a camera that stands still
      const done = () => { clearTimeout(late); resolve(); };
      if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(done);
      else requestAnimationFrame(done);
    });
  }

  async step() {
    if (this.settings.pause && this.painted) {
      this.frozen ??= await createImageBitmap(this.video);
    } else {
      this.frozen = null;
    }
    if (!this.video.videoWidth) return;
    const began = performance.now();
    const bitmap = await createImageBitmap(this.frozen ?? this.video);
    const size = this.size(this.height ?? HEIGHT[this.backend]);
    const { bitmap: painted } = await this.paint(bitmap, size, this.look(this.ready()));
    this.painted?.close();
    this.painted = painted;
    this.draw();
    this.measure(performance.now() - began);
  }

  paint(bitmap, size, look) {
    return this.ask("paint", { bitmap, ...size, mirror: this.settings.mirror, ...look }, [bitmap]);
  }

  // The settings that are painted: the latest, but with the style before for as long as the model of
  // the new one is on its way.
  ready() {
    const { style, partner, blend } = this.shown, now = this.settings;
    const { model } = this.row(now.style);
    if (this.models.has(model)) { this.shown = now; return now; }
    if (this.fetching !== model) {
      this.fetching = model;
      this.fetch(model).catch((error) => {
        if (this.closed || this.row(this.settings.style).model !== model) return;
        this.perform(`style ${style}`);
        this.on.notice(error.message);
      }).finally(() => { this.fetching = null; });
    }
    return { ...now, style, partner, blend };
  }

  async fetch(model) {
    await this.ask("fetch", { model });
    this.models.add(model);
  }

  draw() {
    const { view, context, painted, video } = this;
    const [width, height] = [Math.max(video.videoWidth, painted.width), Math.max(video.videoHeight, painted.height)];
    if (view.width !== width || view.height !== height) {
      [view.width, view.height] = [width, height];
      view.dispatchEvent(new Event("resize"));
    }
    this.compose(context, painted, this.frozen ?? video);
  }

  // The painting, and left of the split the original.
  compose(context, painted, original) {
    const { split, mirror } = this.settings;
    const { width, height } = context.canvas;
    context.imageSmoothingQuality = "high";
    context.clearRect(0, 0, width, height); // a cutout is seen through
    context.drawImage(painted, 0, 0, width, height);
    if (split === null) return;
    context.save();
    context.beginPath();
    context.rect(0, 0, split * width, height);
    context.clip();
    if (mirror) { context.translate(width, 0); context.scale(-1, 1); }
    context.drawImage(original, 0, 0, width, height);
    context.restore();
    context.fillStyle = "#fff";
    context.fillRect(Math.round(split * width) - 1, 0, 2, height);
  }

  measure(latency) {
    const now = performance.now();
    this.times.push({ now, latency });
    this.times = this.times.filter((one, i, all) => now - one.now < 2000 || i >= all.length - 2);
    if (now - (this.reported ?? 0) < 500 || this.times.length < 2) return;
    this.reported = now;
    const span = (now - this.times[0].now) / 1000;
    const sorted = this.times.map((one) => one.latency).sort((a, b) => a - b);
    const where = this.backend === "webgpu" ? "your GPU" : "your processor";
    this.on.figures({ fps: (this.times.length - 1) / span, latency: sorted[sorted.length >> 1], where, notice: "" });
  }

  perform(command) {
    const now = changed(this.settings, this.gallery, command);
    if (now === this.settings) return;
    this.settings = now;
    this.on.settings(now);
  }

  async replaceSource(stream) {
    this.video.srcObject = stream;
    await this.video.play();
  }

  // The model that takes any picture as its style.
  async fetchAnyPicture() {
    const model = Object.keys(this.plan.models).find((name) => this.plan.models[name].encoder);
    if (!model) throw new Error("No model for any picture is part of this page.");
    await this.fetch(model);
    return model;
  }

  async addPicture(file) {
    const bitmap = await decodePicture(file);
    if (Math.min(bitmap.width, bitmap.height) < 16) throw new Error("This picture is too small for a style; at least 16×16 is needed.");
    const model = await this.fetchAnyPicture();
    const { vector } = await this.ask("encode", { bitmap, model }, [bitmap]);
    const stem = file.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N} .-]+/gu, " ").trim().slice(0, 32) || "picture";
    let name = `“${stem}”`;
    for (let n = 2; this.gallery.some((row) => row.name === name); n++) name = `“${stem} ${n}”`;
    this.vectors.set(name, vector);
    this.gallery = [...this.gallery, { name, about: "A picture of your own.", family: `own ${model}`, model, own: true }];
    this.on.gallery(this.gallery);
    this.perform(`style ${name}`);
    return name;
  }

  async thumbnail(name) {
    const { video } = this;
    if (this.closed || !video.videoWidth) return null;
    const look = this.look({ ...this.settings, style: name, partner: null, strength: 1, color: false, cutout: false });
    if (!this.models.has(look.model)) await this.fetch(look.model);
    const bitmap = await createImageBitmap(video, ...middle(video.videoWidth, video.videoHeight));
    const { bitmap: painted } = await this.paint(bitmap, { width: 192, height: 144 }, look);
    const canvas = Object.assign(document.createElement("canvas"), { width: 192, height: 144 });
    canvas.getContext("2d").drawImage(painted, 0, 0);
    painted.close();
    return new Promise((resolve) => { canvas.toBlob((blob) => resolve(blob && URL.createObjectURL(blob)), "image/jpeg", 0.88); });
  }

  // Painted once more, at the camera's own size.
  async snapshot() {
    const [bitmap, original] = await Promise.all([0, 1].map(() => createImageBitmap(this.frozen ?? this.video)));
    const { width, height } = bitmap;
    const { bitmap: painted } = await this.paint(bitmap, { width, height }, this.look(this.ready()));
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    this.compose(canvas.getContext("2d"), painted, original);
    painted.close();
    original.close();
    return canvas;
  }

  end(reason) {
    if (this.closed) return;
    this.close();
    this.on.ended(reason, { again: false });
  }

  close() {
    this.closed = true;
    this.worker?.terminate();
    this.fail("The visit is over.");
    this.video.srcObject = null;
    this.context.clearRect(0, 0, this.view.width, this.view.height);
  }
}

// Left, top, width and height of the largest part of 4:3.
function middle(width, height) {
  const w = Math.min(width, Math.floor((height * 4) / 3)), h = Math.min(height, Math.floor((width * 3) / 4));
  return [(width - w) >> 1, (height - h) >> 1, w, h];
}
