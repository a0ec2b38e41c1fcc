// Where pictures come from: a camera, a photograph or a video file.

export const HEIGHTS = [360, 480, 720, 1080];

export async function openCamera({ id, facing = "user", height = 360 } = {}) {
  if (!navigator.mediaDevices) {
    throw new Error("This browser gives its camera only to https pages; start rtstyle with --self-signed, or with a certificate.");
  }
  const size = { width: { ideal: Math.round((height * 16) / 9) }, height: { ideal: height }, frameRate: { ideal: 30, max: 30 } };
  const which = id ? { deviceId: { exact: id } } : { facingMode: facing };
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { ...size, ...which }, audio: false });
  } catch (error) {
    throw new Error({
      NotAllowedError: "The camera was not allowed. Allow it in the address bar, then start again.",
      NotFoundError: "No camera was found. Plug one in, then start again.",
      OverconstrainedError: "This camera is gone. Choose another, or plug it in again.",
      NotReadableError: "The camera is busy: another program is using it.",
    }[error.name] ?? `The camera cannot be opened (${error.name}).`);
  }
}

export async function cameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter((device) => device.kind === "videoinput");
}

export async function openMicrophone() {
  try {
    return (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0];
  } catch (error) {
    const why = error.name === "NotFoundError" ? "No microphone was found" : "The microphone was not allowed";
    throw new Error(`${why}; the recording goes on without sound.`);
  }
}

const MOST_PIXELS = 40_000_000;

// A file as a stream, with `stop` to end it. A photograph is sent again and again, since a stream
// needs pictures; a video plays over and over.
export async function openFile(file) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  if (file.type.startsWith("video/")) {
    const video = document.createElement("video");
    Object.assign(video, { src: URL.createObjectURL(file), loop: true, muted: true, playsInline: true });
    await new Promise((resolve, reject) => {
      video.onloadeddata = resolve;
      video.onerror = () => reject(new Error("This browser cannot play this video."));
    });
    await video.play();
    const draw = () => {
      if (canvas.width !== video.videoWidth) [canvas.width, canvas.height] = fit(video.videoWidth, video.videoHeight);
      context.drawImage(video, 0, 0, canvas.width, canvas.height);
    };
    return streamOf(canvas, draw, () => { video.pause(); URL.revokeObjectURL(video.src); });
  }
  const picture = await decodePicture(file);
  [canvas.width, canvas.height] = fit(picture.width, picture.height);
  return streamOf(canvas, () => context.drawImage(picture, 0, 0, canvas.width, canvas.height), () => picture.close());
}

export async function decodePicture(file) {
  if (!/^image\/(jpeg|png|webp)$/.test(file.type)) throw new Error("A JPEG, PNG or WebP picture was expected.");
  const size = await pictureSize(file);
  if (size && size[0] * size[1] > MOST_PIXELS) {
    throw new Error(`This picture has ${size[0]}×${size[1]} pixels; at most ${MOST_PIXELS / 1e6} megapixels are taken.`);
  }
  const picture = size && await createImageBitmap(file).catch(() => null);
  if (!picture) throw new Error("This picture is damaged, or is none.");
  return picture;
}

// Width and height as the file's own header says, before anything is decoded; null where there is
// no such header. As rtstyle/serve/pictures.py does.
async function pictureSize(file) {
  const data = new DataView(await file.arrayBuffer());
  try {
    if (data.getUint32(0) === 0x89504e47) return [data.getUint32(16), data.getUint32(20)];
    if (data.getUint16(0) === 0xffd8) return jpegSize(data);
    const [low, high] = [data.getUint32(21, true), data.getUint32(26, true)];
    switch (data.getUint32(12)) {
      case 0x56503858: return [24, 27].map((at) => 1 + data.getUint16(at, true) + (data.getUint8(at + 2) << 16)); // "VP8X"
      case 0x5650384c: return [1 + (low & 0x3fff), 1 + ((low >> 14) & 0x3fff)]; // "VP8L"
      case 0x56503820: return [high & 0x3fff, (high >> 16) & 0x3fff]; // "VP8 "
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return null;
}

function jpegSize(data) {
  for (let at = 2; data.getUint8(at) === 0xff;) {
    const kind = data.getUint8(at + 1);
    if (kind === 0xff) { at += 1; continue; } // a fill byte
    if (kind === 0x01 || (kind >= 0xd0 && kind <= 0xd8)) { at += 2; continue; } // without a length
    if (kind >= 0xc0 && kind <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(kind)) return [data.getUint16(at + 7), data.getUint16(at + 5)];
    at += 2 + data.getUint16(at + 2);
  }
  return null;
}

function fit(width, height) {
  const factor = Math.min(1, 1920 / Math.max(width, height));
  return [width, height].map((side) => Math.max(2, Math.round((side * factor) / 2) * 2));
}

function streamOf(canvas, draw, end) {
  draw();
  const stream = canvas.captureStream(30);
  const timer = setInterval(draw, 1000 / 30);
  stream.getVideoTracks()[0].addEventListener("stopped", () => { clearInterval(timer); end(); });
  return stream;
}

export function stop(stream) {
  for (const track of stream?.getTracks() ?? []) {
    track.stop();
    track.dispatchEvent(new Event("stopped"));
  }
}

// Whether pictures of oneself should be shown as in a mirror.
export const isFront = (stream) => {
  const settings = stream?.getVideoTracks()[0]?.getSettings() ?? {};
  return Boolean(settings.deviceId) && settings.facingMode !== "environment" && !("displaySurface" in settings);
};
