// A visit whose pictures are painted by the server: one socket for words, one WebRTC connection for
// pictures. Has the methods of `LocalVisit` in local.js.

const REMEMBERED = 200; // pictures that are sent and not shown yet, or the other way round
const MOST_AGE = 20000; // milliseconds; beyond them a clock is wrong

export class ServerVisit {
  // `on` has: gallery, settings, figures, notice, progress, ended(reason, { again }).
  // `view` is the video element that shows the painted pictures, `camera` the one that shows the
  // camera's.
  constructor(on, view, camera) {
    Object.assign(this, { on, view, camera });
    this.viewer = "";
    this.roundTrip = 0;
    this.captured = new Map(); // RTP timestamps of pictures → when, in ms of Unix time
    this.presented = new Map();
    this.age = 0;
    this.closed = false;
  }

  async start(stream, commands) {
    this.on.progress("Connecting …", 0.3);
    await this.connect();
    for (const command of commands) this.perform(command);
    this.on.progress("The net is made ready …", 0.6);
    const lost = new Promise((_, reject) => { this.lost = reject; });
    await Promise.race([this.negotiate(stream).then(() => this.playing()), lost]);
  }

  connect() {
    return new Promise((resolve, reject) => {
      const scheme = location.protocol === "https:" ? "wss" : "ws";
      this.socket = new WebSocket(`${scheme}://${location.host}/live`);
      this.socket.onerror = () => reject(unreachable("This rtstyle does not answer. Is it still running?"));
      this.socket.onclose = () => {
        reject(unreachable("This rtstyle ended the connection."));
        this.end("The connection was lost.", true);
      };
      this.socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.full) reject(new Error(`It is full: ${message.full} are watching already. Try again in a while.`));
        if (message.hello) { this.viewer = message.hello.viewer; this.on.hello(message.hello); resolve(); }
        if (message.gallery) this.on.gallery(message.gallery);
        if (message.settings) { this.paused = message.settings.pause; this.on.settings(message.settings); }
        if (message.figures) this.showFigures(message.figures);
        if (message.answer) this.peer?.setRemoteDescription({ type: "answer", sdp: message.answer }).catch(() => {});
        if (message.pong) this.roundTrip = performance.now() - message.pong;
        if (message.sorry) this.on.notice(message.sorry);
        if (message.goodbye) this.end(message.goodbye, message.goodbye === "The server was stopped.");
      };
    });
  }

  async negotiate(stream) {
    this.peer = new RTCPeerConnection({ iceServers: [] });
    this.peer.ontrack = ({ streams, track }) => { this.view.srcObject = streams[0] ?? new MediaStream([track]); };
    this.watch();
    this.peer.onconnectionstatechange = () => {
      if (this.peer?.connectionState === "failed") this.end("The video connection failed; a firewall may be in the way.");
    };
    if (stream) {
      this.peer.addTrack(stream.getVideoTracks()[0], stream).track.contentHint = "motion";
    } else {
      this.peer.addTransceiver("video", { direction: "recvonly" });
    }
    await this.peer.setLocalDescription();
    await gathered(this.peer);
    this.say({ offer: this.peer.localDescription.sdp });
  }

  playing() {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("No painted picture came within 30 seconds.")), 30000);
      this.view.addEventListener("playing", () => { clearTimeout(late); resolve(); }, { once: true });
    });
  }

  async replaceSource(stream) {
    const sender = this.peer?.getSenders().find((one) => one.track?.kind === "video");
    await sender?.replaceTrack(stream.getVideoTracks()[0]);
  }

  say(message) { if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message)); }

  perform(command) { this.say({ do: command }); }

  async addPicture(file) {
    return (await (await this.post("paintings", file, { name: file.name })).json()).name;
  }

  async thumbnail(name) {
    const response = await fetch(`thumbnails/${encodeURIComponent(name)}?viewer=${encodeURIComponent(this.viewer)}`);
    return response.ok ? URL.createObjectURL(await response.blob()) : null;
  }

  // The camera's own picture, painted once more at its full size; while it is paused, and where all
  // watch one run, what is shown.
  async snapshot() {
    const { view, camera } = this;
    if (this.paused || !camera.videoWidth) return drawn(view, view.videoWidth, view.videoHeight);
    const picture = drawn(camera, camera.videoWidth, camera.videoHeight);
    const blob = await new Promise((resolve) => { picture.toBlob(resolve, "image/jpeg", 0.95); });
    const painted = await createImageBitmap(await this.post("snapshots", blob).then((response) => response.blob()));
    return drawn(painted, painted.width, painted.height);
  }

  async post(what, body, rest = {}) {
    let response;
    try {
      response = await fetch(`${what}?${new URLSearchParams({ viewer: this.viewer, ...rest })}`, { method: "POST", body });
    } catch {
      throw new Error("The picture is too large, or the connection was lost.");
    }
    if (response.ok) return response;
    const { sorry } = await response.json().catch(() => ({}));
    throw new Error(sorry ?? `The picture was refused (${response.status}).`);
  }

  showFigures({ pictures, ...figures }) {
    const age = this.measure(pictures);
    // by the figures of the server alone, where this browser does not say which picture it shows
    const latency = age || (figures.latency_ms && figures.latency_ms + this.roundTrip);
    this.on.figures({ fps: figures.fps, latency, notice: figures.notice });
    this.say({ ping: performance.now() });
  }

  // How old pictures are when they are shown, in milliseconds: the server says of each, by its RTP
  // timestamp, when it was captured, by this machine's clock.
  measure(pictures) {
    for (const [rtp, time] of pictures) this.captured.set(rtp, time);
    const ages = [];
    for (const [rtp, time] of this.presented) {
      if (!this.captured.has(rtp)) continue;
      ages.push(time - this.captured.get(rtp));
      this.captured.delete(rtp);
      this.presented.delete(rtp);
    }
    for (const noted of [this.captured, this.presented]) {
      for (const rtp of [...noted.keys()].slice(0, -REMEMBERED)) noted.delete(rtp);
    }
    const mean = ages.reduce((sum, age) => sum + age / ages.length, 0);
    if (mean > 0 && mean < MOST_AGE) this.age = this.age ? (this.age + mean) / 2 : mean;
    return this.age;
  }

  // Note when which picture is shown.
  watch() {
    this.view.requestVideoFrameCallback?.((_, { rtpTimestamp, presentationTime }) => {
      if (this.closed) return;
      if (rtpTimestamp !== undefined) this.presented.set(rtpTimestamp, performance.timeOrigin + presentationTime);
      this.watch();
    });
  }

  end(reason, again = false) {
    if (this.closed) return;
    this.close();
    this.lost?.(again ? unreachable(reason) : new Error(reason));
    this.on.ended(reason, { again });
  }

  close() {
    this.closed = true;
    if (this.socket) { this.socket.onclose = null; this.socket.close(); }
    this.peer?.close();
    this.peer = null;
    this.view.srcObject = null;
  }
}

function drawn(picture, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").drawImage(picture, 0, 0, width, height);
  return canvas;
}

const unreachable = (sentence) => Object.assign(new Error(sentence), { again: true });

function gathered(connection) {
  if (connection.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    connection.addEventListener("icegatheringstatechange", () => { if (connection.iceGatheringState === "complete") resolve(); });
    setTimeout(resolve, 2000);
  });
}

// Resolves once the server answers again.
export async function answering() {
  for (let wait = 500; ; wait = Math.min(5000, wait * 1.5)) {
    await new Promise((resolve) => { setTimeout(resolve, wait); });
    const response = await fetch("healthz", { cache: "no-store" }).catch(() => null);
    if (response?.ok) return;
    if (response?.status === 403) throw new Error("This rtstyle has started again with another key; open the address that it printed.");
  }
}
