// Snapshots and recordings. A recording has one size from its first picture to its last, whatever
// becomes of the camera: pictures are drawn onto a canvas, and the canvas is recorded.

const KINDS = ["video/mp4;codecs=avc1.42E01F,mp4a.40.2", "video/mp4", "video/webm;codecs=vp9,opus", "video/webm"];
const INTERVAL = 1000 / 30; // between the pictures of a recording, in milliseconds
const LONGEST = 5; // seconds that sound can wait

export class Recording {
  // `shown()` gives the element that shows the picture, `age()` for how many milliseconds after its
  // capture on average; `microphone` is a track, or null.
  constructor(shown, size, microphone, age) {
    this.canvas = document.createElement("canvas");
    [this.canvas.width, this.canvas.height] = size.map((side) => Math.max(2, side & ~1));
    this.context = this.canvas.getContext("2d");
    this.kind = KINDS.find((kind) => globalThis.MediaRecorder?.isTypeSupported(kind));
    if (!this.kind) throw new Error("This browser cannot record.");
    this.shown = shown;
    this.microphone = microphone;
    this.age = age;
    this.draw();
    this.timer = setInterval(() => this.draw(), INTERVAL);
    const stream = this.canvas.captureStream(30);
    if (microphone) stream.addTrack(this.delayed(microphone));
    this.recorder = new MediaRecorder(stream, { mimeType: this.kind, videoBitsPerSecond: 6_000_000 });
    this.parts = [];
    this.recorder.ondataavailable = (event) => { if (event.data.size) this.parts.push(event.data); };
    this.recorder.start(1000);
    this.began = performance.now();
  }

  // Sound needs no painting: it waits as long as the pictures take. (That a picture is recorded for an
  // interval makes it half of one older, which is about what sound takes through these nodes.)
  delayed(track) {
    this.audio = new AudioContext();
    const late = this.audio.createDelay(LONGEST), out = this.audio.createMediaStreamDestination();
    const wait = () => Math.min(LONGEST, this.age() / 1000);
    late.delayTime.value = wait();
    this.follower = setInterval(() => late.delayTime.setTargetAtTime(wait(), this.audio.currentTime, 0.5), 1000);
    this.audio.createMediaStreamSource(new MediaStream([track])).connect(late).connect(out);
    return out.stream.getAudioTracks()[0];
  }

  get seconds() { return (performance.now() - this.began) / 1000; }

  draw() {
    const element = this.shown();
    const [width, height] = sizeOf(element);
    if (!width) return; // nothing is shown for a moment: the last picture stays
    const { canvas, context } = this;
    const factor = Math.min(canvas.width / width, canvas.height / height);
    const [w, h] = [width * factor, height * factor];
    if (Math.abs(w - canvas.width) > 1 || Math.abs(h - canvas.height) > 1) context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(element, (canvas.width - w) / 2, (canvas.height - h) / 2, w, h);
  }

  async finish() {
    clearInterval(this.timer);
    if (this.recorder.state !== "inactive") {
      await new Promise((resolve) => { this.recorder.onstop = resolve; this.recorder.stop(); });
    }
    this.microphone?.stop();
    clearInterval(this.follower);
    this.audio?.close();
    save(new Blob(this.parts, { type: this.kind }), this.kind.startsWith("video/mp4") ? "mp4" : "webm");
  }
}

export const sizeOf = (element) => (element instanceof HTMLVideoElement
  ? [element.videoWidth, element.videoHeight] : [element?.width ?? 0, element?.height ?? 0]);

export function save(blob, suffix) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `rtstyle-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
