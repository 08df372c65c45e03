/** A recorded session: what was read, never a picture; the server turns it into CSV, Parquet or WebVTT. */

import { request, save, stamp } from "./api.js";
import { clock } from "./expressions.js";
import { downloading, showDialog, toast } from "./shell.js";

const $ = (id) => document.getElementById(id);
/** Bytes of JSON, about: what the server takes at once. An hour of one person at twenty-five frames a second. */
const MOST_BYTES = 60e6;
const FRAME_BYTES = 100;
const FACE_BYTES = 600;
/** Version of the shape of frames and faces. */
const SCHEMA = 1;

export class Recorder {
  recording = false;
  #frames = [];
  #began = null;
  #bytes = 0;
  #name = "";

  constructor() {
    for (const button of $("formats").children)
      button.addEventListener("click", () => downloading(button, () => this.#download(button.dataset.format)));
  }

  /** Begin a new one; the one before is forgotten. */
  start() {
    this.#frames = [];
    this.#began = null;
    this.#bytes = 0;
    this.#name = stamp();
    this.#show(true);
  }

  /** End it and offer it as a file; without one going on, nothing happens. */
  stop() {
    if (!this.recording) return;
    this.#show(false);
    const rows = this.#frames.reduce((sum, frame) => sum + frame.faces.length, 0);
    const people = new Set(this.#frames.flatMap((frame) => frame.faces.map((face) => face.id).filter(Boolean))).size;
    const who = people === 1 ? "1 person" : `${people} people`;
    $("recording-text").textContent = rows
      ? `${clock(Number(this.#seconds.toFixed(1)), this.#seconds)}, ${this.#frames.length} frames, ${who}.`
      : "No face was seen while it ran.";
    $("formats").hidden = !rows;
    showDialog("recording-dialog");
  }

  /** Keep a frame while recording; times begin at 0. */
  add({ sequence, time, width, height, faces }) {
    if (!this.recording) return;
    this.#began ??= time;
    this.#frames.push({ sequence, time: time - this.#began, width, height, faces });
    $("rec-text").textContent = clock(Math.floor(this.#seconds), Math.max(60, this.#seconds));
    this.#bytes += FRAME_BYTES + FACE_BYTES * faces.length;
    if (this.#bytes < MOST_BYTES) return;
    toast("The recording is as long as the server takes at once; begin another one.");
    this.stop();
  }

  get #seconds() {
    return this.#frames.at(-1)?.time ?? 0;
  }

  #show(recording) {
    this.recording = recording;
    $("record").setAttribute("aria-pressed", recording);
    $("record-text").textContent = recording ? "Stop recording" : "Record";
    $("rec-text").textContent = clock(0, 60);
    $("rec").hidden = !recording;
  }

  async #download(format) {
    const answer = await request(`/v1/recordings?format=${format}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ schema: SCHEMA, name: this.#name, frames: this.#frames }),
    });
    save(await answer.blob(), `${this.#name}.${format}`);
  }
}
