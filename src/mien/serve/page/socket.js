/** The WebSocket to /v1/stream: frames out, faces in; reconnects by itself and knows how fast all that is. */

import { token } from "./api.js";

const IN_FLIGHT = 2;
/** Seconds of silence after which the line counts as dead. */
const STALL = 10;
const FIRST_WAIT = 0.5;
const LONGEST_WAIT = 8;
const BUSY_WAIT = 5;
const REFUSED = 1008;
const OVERLOADED = 1013;
const HEADER = 16;
const SPAN = 2;

const seconds = () => performance.now() / 1000;

/**
 * One viewer's connection. `on` has the callbacks
 *   state(name, detail)   "connecting", "ready", "lost" or "busy" (detail: seconds to the next try),
 *                         "refused" (detail: why, in a few words; no further try), "closed"
 *   faces(frame)          the server's message, with `latency` in milliseconds, `fps` and `dropped`
 *   problem(title, text)  one frame that the server could not read
 */
export class Connection {
  #on;
  #socket = null;
  #ready = false;
  #sent = new Map();
  #sequence = 0;
  #tries = 0;
  #timer = 0;
  #answers = [];
  #settings = {};
  #highest = 0;
  #offset = 0;
  #dropped = 0;
  #droppedBefore = 0;

  constructor(on) {
    this.#on = on;
  }

  /** Connect, and stay connected until `close`. */
  open() {
    this.close();
    this.#tries = 0;
    this.#highest = this.#offset = this.#dropped = this.#droppedBefore = 0;
    this.#answers = [];
    this.#connect();
  }

  /** Try again now rather than later. */
  retry() {
    if (this.#timer) this.#connect();
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    this.#sent.clear();
    if (socket) {
      socket.close(1000);
      this.#on.state("closed");
    }
  }

  /** Whether another frame may be sent now. */
  get free() {
    if (!this.#ready) return false;
    const [oldest] = this.#sent.values();
    if (oldest !== undefined && seconds() - oldest > STALL) {
      this.#socket.close();
      this.#lost({});
      return false;
    }
    return this.#sent.size < IN_FLIGHT && this.#socket.bufferedAmount < 1e6;
  }

  /** Send an encoded picture that was taken at `time` (seconds of the page's clock). */
  send(image, time) {
    if (!this.#ready) return;
    const header = new DataView(new ArrayBuffer(HEADER));
    header.setUint32(0, this.#sequence, true);
    header.setFloat64(8, time, true);
    this.#sent.set(this.#sequence, time);
    this.#sequence += 1;
    this.#socket.send(new Blob([header, image]));
  }

  /** `{smoothing, min_confidence}`, from the next frame on. */
  settings(settings) {
    this.#settings = settings;
    if (this.#ready) this.#socket.send(JSON.stringify({ type: "settings", ...settings }));
  }

  /** Whether nothing is on its way. */
  get idle() {
    return this.#sent.size === 0;
  }

  /** Have the server take everybody for new: boxes of another size of frames say nothing of who is who. */
  reset() {
    if (!this.#ready) return;
    this.#offset = this.#highest;
    this.#socket.send(JSON.stringify({ type: "reset" }));
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#on.state("connecting");
    const address = new URL("/v1/stream", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, token ? ["mien.v1", `bearer.${token}`] : ["mien.v1"]);
    this.#socket = socket;
    socket.onmessage = (event) => this.#socket === socket && this.#onMessage(JSON.parse(event.data));
    socket.onclose = (event) => this.#socket === socket && this.#lost(event);
  }

  #onMessage(message) {
    switch (message.type) {
      case "ready":
        this.#ready = true;
        this.#tries = 0;
        // The server numbers people from 1 again; whoever comes now is nobody from before.
        this.#offset = this.#highest;
        this.#droppedBefore += this.#dropped;
        this.#dropped = 0;
        this.settings(this.#settings);
        this.#on.state("ready", message);
        break;
      case "faces":
        this.#faces(message);
        break;
      case "dropped":
        this.#sent.delete(message.sequence);
        break;
      case "error":
        this.#sent.delete(message.sequence);
        this.#on.problem(message.title, message.detail);
        break;
    }
  }

  #faces(message) {
    const sent = this.#sent.get(message.sequence);
    if (sent === undefined) return;
    for (const sequence of [...this.#sent.keys()]) if (sequence <= message.sequence) this.#sent.delete(sequence);
    const now = seconds();
    this.#answers.push(now);
    while (this.#answers[0] < now - SPAN) this.#answers.shift();
    for (const face of message.faces) {
      if (!face.id) continue;
      face.id += this.#offset;
      this.#highest = Math.max(this.#highest, face.id);
    }
    this.#dropped = message.dropped;
    this.#on.faces({
      ...message,
      latency: 1000 * (now - sent),
      fps: this.#rate(now),
      dropped: this.#droppedBefore + this.#dropped,
    });
  }

  #rate(now) {
    const span = now - this.#answers[0];
    return span > 0.2 ? (this.#answers.length - 1) / span : 0;
  }

  #lost({ code, reason }) {
    this.#socket = null;
    this.#ready = false;
    this.#sent.clear();
    this.#answers = [];
    if (code === REFUSED) {
      this.#on.state("refused", reason);
      return;
    }
    const wait = code === OVERLOADED ? BUSY_WAIT : Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#tries);
    this.#tries += 1;
    this.#timer = setTimeout(() => this.#connect(), 1000 * wait * (0.8 + 0.4 * Math.random()));
    this.#on.state(code === OVERLOADED ? "busy" : "lost", wait);
  }
}
