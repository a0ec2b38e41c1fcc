// The worker that paints: ONNX Runtime on the GPU (WebGPU) or the CPU (WebAssembly), away from the
// page, which stays at its own rate meanwhile. Messages are { id, do, … }; every one is answered by
// { id, … } or { id, error }.

let ort = null;
let plan = null; // where the runtime and the models lie, see rtstyle/web/site.py
let backend = "";
let base = "";
const downloads = new Map(); // URL → promise of the bytes, until a session is made of them
const sessions = new Map(); // URL → promise of a session
let surface = null;

// A session runs one picture at a time, so all wait for what was asked before, but downloads do not.
const work = { open, paint, encode };
let queue = Promise.resolve();
self.onmessage = ({ data }) => {
  const done = data.do === "fetch" ? fetchModel(data) : queue.then(() => work[data.do](data));
  const answered = done.then(
    ({ transfer = [], ...answer }) => self.postMessage({ id: data.id, ...answer }, transfer),
    (error) => self.postMessage({ id: data.id, error: error?.message ?? String(error) }),
  );
  if (data.do !== "fetch") queue = answered;
};

// So that what is painted meanwhile does not wait for the network.
async function fetchModel({ model }) {
  const { file, encoder } = plan.models[model];
  await Promise.all([file, encoder?.file].map((one) => one && !sessions.has(one.url) && bytesOf(one)));
  return {};
}

async function open(message) {
  ({ backend, base, plan } = message);
  if (backend === "webgpu") {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new Error("There is no WebGPU here.");
  }
  const files = plan.runtime[backend === "webgpu" ? ("Suspending" in WebAssembly ? "jspi" : "asyncify") : "wasm"];
  ort = await import(new URL(files.module, base));
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  ort.env.wasm.proxy = false;
  ort.env.wasm.wasmPaths = { mjs: new URL(files.glue, base).href };
  ort.env.wasm.wasmBinary = await download(files.wasm);
  ort.env.logLevel = "error";
  await session(plan.models[message.model].file);
  return {};
}

function session(file) {
  return once(sessions, file.url, async () => {
    const bytes = new Uint8Array(await bytesOf(file));
    downloads.delete(file.url);
    return ort.InferenceSession.create(bytes, { executionProviders: [backend], graphOptimizationLevel: "all" });
  });
}

const bytesOf = (file) => once(downloads, file.url, () => download(file));

// What was made before, or is being made; after a failure the next one tries again.
function once(made, key, make) {
  if (!made.has(key)) {
    const making = make();
    making.catch(() => made.delete(key));
    made.set(key, making);
  }
  return made.get(key);
}

// The bytes of a file. Those that were built are compressed, since not every host does it; one that
// names the compression in a header has had it undone by the browser already.
async function download({ url, bytes }) {
  const response = await fetch(new URL(url, base)).catch(() => null);
  if (!response) throw new Error("This style was not fetched before, and there is no network now.");
  if (!response.ok) throw new Error(`${url} cannot be loaded (${response.status}).`);
  const parts = [];
  let received = 0;
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    received += value.length;
    self.postMessage({ loaded: Math.min(1, received / bytes), url });
  }
  const blob = new Blob(parts);
  const head = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  if (head[0] !== 0x1f || head[1] !== 0x8b) return blob.arrayBuffer();
  return new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// The picture as RGBA at width × height, scaled by the browser if it comes as a bitmap.
function pixelsOf({ bitmap, pixels, width, height, mirror }) {
  if (pixels) return pixels;
  if (surface?.canvas.width !== width || surface.canvas.height !== height) {
    surface = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  }
  surface.setTransform(mirror ? -1 : 1, 0, 0, 1, mirror ? width : 0, 0);
  surface.imageSmoothingQuality = "high";
  surface.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return surface.getImageData(0, 0, width, height).data;
}

// RGBA → the net's RGB, padded to multiples of its stride by reflection, as rtstyle/image.py does.
function prepared(rgba, width, height, stride) {
  const least = Math.max(32, 2 * stride);
  const [w, h] = [width, height].map((side) => Math.ceil(Math.max(side, least) / stride) * stride);
  const reflected = (i, n) => { for (;;) { if (i < n) return i; i = Math.abs(2 * (n - 1) - i); if (n === 1) return 0; } };
  const rgb = new Uint8Array(w * h * 3);
  let to = 0;
  for (let y = 0; y < h; y++) {
    const row = reflected(y, height) * width;
    for (let x = 0; x < w; x++) {
      const from = 4 * (row + (x < width ? x : reflected(x, width)));
      rgb[to++] = rgba[from];
      rgb[to++] = rgba[from + 1];
      rgb[to++] = rgba[from + 2];
    }
  }
  return { rgb, w, h };
}

// Crop, keep the picture's own colours, mix by strength: as rtstyle/image.py does.
function finished(painted, w, rgba, width, height, { strength, color }) {
  const result = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0, from = y * w * 3, to = 4 * y * width; x < width; x++, from += 3, to += 4) {
      let r = painted[from], g = painted[from + 1], b = painted[from + 2];
      if (color) {
        const shift = 0.299 * (r - rgba[to]) + 0.587 * (g - rgba[to + 1]) + 0.114 * (b - rgba[to + 2]);
        r = Math.min(255, Math.max(0, rgba[to] + shift));
        g = Math.min(255, Math.max(0, rgba[to + 1] + shift));
        b = Math.min(255, Math.max(0, rgba[to + 2] + shift));
      }
      result[to] = r * strength + rgba[to] * (1 - strength);
      result[to + 1] = g * strength + rgba[to + 1] * (1 - strength);
      result[to + 2] = b * strength + rgba[to + 2] * (1 - strength);
      result[to + 3] = 255;
    }
  }
  return result;
}

async function paint(message) {
  const { width, height, model: name, vector, strength = 1, color = false, cutout = false, raw = false } = message;
  const model = plan.models[name];
  const net = await session(model.file);
  const rgba = pixelsOf(message);
  const began = performance.now();
  let result = rgba;
  if (strength > 0) {
    const { rgb, w, h } = prepared(rgba, width, height, model.stride);
    const feeds = { [model.input]: new ort.Tensor("uint8", rgb, [1, h, w, 3]) };
    if (model.style_size) feeds.style = new ort.Tensor("float32", Float32Array.from(vector), [1, model.style_size]);
    if (model.takes_strength) feeds.strength = new ort.Tensor("float32", Float32Array.of(strength), [1]);
    const outputs = await net.run(feeds);
    const painted = outputs[net.outputNames[0]];
    const data = await painted.getData();
    result = finished(data, w, rgba, width, height, { color, strength: model.takes_strength ? 1 : strength });
    painted.dispose();
    for (const tensor of Object.values(feeds)) tensor.dispose();
  }
  if (cutout) result = await cutOut(result, rgba, width, height);
  const ms = performance.now() - began;
  if (raw) return { pixels: result, ms, transfer: result === message.pixels ? [] : [result.buffer] };
  const bitmap = await createImageBitmap(new ImageData(result, width, height));
  return { bitmap, ms, transfer: [bitmap] };
}

// The painting with the mask of people in the picture as its alpha. As rtstyle/masks.py finds it, but
// each picture for itself, and with the net's own edges.
async function cutOut(result, rgba, width, height) {
  const net = await session(plan.masks);
  const [w, h] = [256, 144]; // that the net takes; narrow pictures lie between borders
  const inner = Math.min(w, Math.max(16, width / height >= 1.2 ? w : Math.round((w * width) / height / 1.2)));
  const left = (w - inner) >> 1;
  const given = await createImageBitmap(new ImageData(rgba, width, height));
  const small = new OffscreenCanvas(w, h).getContext("2d", { willReadFrequently: true });
  small.imageSmoothingQuality = "high";
  if (left) {
    small.drawImage(given, 0, 0, 1, height, 0, 0, left, h);
    small.drawImage(given, width - 1, 0, 1, height, left + inner, 0, w - left - inner, h);
  }
  small.drawImage(given, left, 0, inner, h);
  given.close();
  const { rgb } = prepared(small.getImageData(0, 0, w, h).data, w, h, 16);
  const outputs = await net.run({ [net.inputNames[0]]: new ort.Tensor("uint8", rgb, [1, h, w, 3]) });
  const found = await outputs[net.outputNames[0]].getData(); // of people, then of faces
  const mask = new ImageData(w, h);
  for (let i = 0; i < w * h; i++) mask.data[4 * i + 3] = (255 * (found[i] - 0.2)) / 0.6;
  small.putImageData(mask, 0, 0);
  const whole = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  whole.putImageData(new ImageData(result, width, height), 0, 0);
  whole.globalCompositeOperation = "destination-in";
  whole.imageSmoothingQuality = "high";
  whole.drawImage(small.canvas, left, 0, inner, h, 0, 0, width, height);
  return whole.getImageData(0, 0, width, height).data;
}

// The statistics of a picture, which are its style; scaled and cut as rtstyle/style/encoder.py does.
async function encode(message) {
  const { encoder } = plan.models[message.model];
  const { bitmap } = message;
  let rgba = message.pixels, { width, height } = message;
  if (bitmap) {
    const most = 4 * Math.min(bitmap.width, bitmap.height);
    const [cw, ch] = [Math.min(bitmap.width, most), Math.min(bitmap.height, most)];
    const factor = encoder.image_size / Math.min(cw, ch);
    [width, height] = [cw, ch].map((side) => Math.round(side * factor));
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (bitmap.width - cw) >> 1, (bitmap.height - ch) >> 1, cw, ch, 0, 0, width, height);
    [width, height] = [width, height].map((side) => side - (side % encoder.stride));
    rgba = context.getImageData(0, 0, width, height).data;
    bitmap.close();
  }
  const { rgb } = prepared(rgba, width, height, encoder.stride);
  const net = await session(encoder.file);
  const outputs = await net.run({ painting: new ort.Tensor("uint8", rgb, [1, height, width, 3]) });
  return { vector: Array.from(await outputs.style.getData()) };
}
