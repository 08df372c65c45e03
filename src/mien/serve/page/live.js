/** The live view: camera to server and back, never more than the line and the server can take. */

import { Grabber, Pace, looksAtVisitor, openCamera } from "./camera.js";
import { Connection } from "./socket.js";

const NO_NEW_FRAME = 40;

/**
 * `on` has `state`, `faces` and `problem` of Connection, and
 *   ended()   the camera was unplugged, or its permission taken away
 */
export class Live {
  pace = new Pace();
  paused = false;
  #video;
  #on;
  #connection;
  #grabber = new Grabber();
  #stream = null;
  #busy = false;
  #shape = "";
  #attempt = 0;

  constructor(video, on) {
    this.#video = video;
    this.#on = on;
    this.#connection = new Connection({ ...on, faces: (frame) => this.#onFaces(frame) });
  }

  get running() {
    return this.#stream !== null;
  }

  /**
   * Open a camera (empty: the default) and the connection at once; raises the browser's DOMException.
   * Gives null where it was stopped or started anew meanwhile.
   */
  async start(device) {
    this.stop();
    this.#attempt += 1;
    const attempt = this.#attempt;
    this.#connection.open();
    try {
      const stream = await openCamera(device);
      if (attempt !== this.#attempt) {
        stream.getTracks().forEach((track) => track.stop());
        return null;
      }
      this.#stream = stream;
      const [track] = stream.getVideoTracks();
      track.addEventListener("ended", () => this.#stream === stream && this.#on.ended());
      this.#video.srcObject = stream;
      this.paused = false;
      this.#shape = "";
      await this.#video.play();
      this.#next();
      return { device: track.getSettings().deviceId, mirrored: looksAtVisitor(stream) };
    } catch (error) {
      if (attempt !== this.#attempt) return null;
      this.stop();
      throw error;
    }
  }

  stop() {
    this.#attempt += 1;
    this.#connection.close();
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }

  pause(paused) {
    this.paused = paused;
    if (paused) this.#video.pause();
    else this.#video.play().catch(() => {}); // stopped meanwhile
  }

  /** `{smoothing, min_confidence}`. */
  settings(settings) {
    this.#connection.settings(settings);
  }

  retry() {
    this.#connection.retry();
  }

  #onFaces(frame) {
    this.pace.note(frame.latency);
    if (this.running && !this.paused) this.#on.faces(frame);
  }

  #next() {
    const stream = this.#stream;
    const tick = () => this.#stream === stream && this.#tick();
    // Video frames do not come while the tab is hidden: nobody watches, so nothing is sent.
    if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(tick);
    else setTimeout(tick, NO_NEW_FRAME);
  }

  async #tick() {
    this.#next();
    if (this.paused || this.#busy || !this.#video.videoWidth || !this.#connection.free) return;
    const shape = `${this.#video.videoWidth} ${this.#video.videoHeight} ${this.pace.size}`;
    if (shape !== this.#shape) {
      if (this.#shape && !this.#connection.idle) return; // answers to the old size are still to come
      if (this.#shape) this.#connection.reset();
      this.#shape = shape;
    }
    this.#busy = true;
    try {
      const time = performance.now() / 1000;
      this.#connection.send(await this.#grabber.grab(this.#video, this.pace.size), time);
    } finally {
      this.#busy = false;
    }
  }
}
