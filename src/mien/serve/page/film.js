/** A film's way through the server: upload, analysis, result; and what was seen at any of its moments. */

import { request, save, upload } from "./api.js";

/** Milliseconds between two questions for the progress. */
const PACE = 400;

export class Film {
  #file;
  #abort = new AbortController();
  #place = null;
  #frames = [];
  #interval = 1 / 25;
  #duration = 0;

  constructor(file) {
    this.#file = file;
  }

  /** What was wrong with a film that was read nevertheless; empty for most. */
  remark = "";

  /** Seconds, as the server counted them, from analysed frame to analysed frame and of the whole film. */
  get interval() {
    return this.#interval;
  }

  get duration() {
    return this.#duration;
  }

  /** Analysed frames with somebody in them, `{time, faces}`, by time. */
  get frames() {
    return this.#frames;
  }

  /** Upload it; `on(share)` tells how much has arrived. Raises Problem, or an AbortError after `discard`. */
  async upload(on) {
    // Without max_fps every frame is read, as mien predict does: people and episodes are the same.
    const job = await upload("/v1/videos", this.#file, on, this.#abort.signal);
    this.#place = `/v1/videos/${encodeURIComponent(job.id)}`;
  }

  /** Have it analysed; `on(share, state)` tells how much is done. Raises as `upload` does. */
  async analyse(on) {
    const { signal } = this.#abort;
    for (;;) {
      signal.throwIfAborted();
      const state = await (await request(this.#place, { signal })).json();
      on(state.progress ?? 0, state);
      if (state.state === "done") {
        await this.#load(state);
        return;
      }
      if (state.state === "failed") throw new Error(state.detail);
      await new Promise((resolve) => setTimeout(resolve, PACE));
    }
  }

  async #load(state) {
    const { signal } = this.#abort;
    this.remark = state.detail;
    const text = await (await request(`${this.#place}/table.jsonl`, { signal })).text();
    const byFrame = new Map();
    for (const line of text.split("\n")) {
      if (!line) continue;
      const row = JSON.parse(line);
      if (!byFrame.has(row.frame)) byFrame.set(row.frame, { time: row.time_s, faces: [] });
      byFrame.get(row.frame).faces.push(row);
    }
    this.#frames = [...byFrame.values()].sort((a, b) => a.time - b.time);
    const steps = this.#frames.slice(1).map((frame, i) => frame.time - this.#frames[i].time);
    if (steps.length) this.#interval = steps.sort((a, b) => a - b)[steps.length >> 1];
    this.#duration = state.duration ?? (this.#frames.at(-1)?.time ?? 0) + this.#interval;
  }

  /** The faces on screen at a moment: those of the analysed frame before it, unless that is long past. */
  at(seconds) {
    let low = 0;
    let high = this.#frames.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#frames[middle].time <= seconds + 1e-3) low = middle + 1;
      else high = middle;
    }
    const frame = this.#frames[low - 1];
    return frame && seconds - frame.time < 1.6 * this.#interval ? frame.faces : [];
  }

  /** Stretches of one person with one expression: `{id, label, onset_s, offset_s, mean_probability}`. */
  async episodes() {
    const answer = await request(`${this.#place}/episodes.json`, { signal: this.#abort.signal });
    return (await answer.json()).episodes;
  }

  /** Hand a result over as a file: `table.csv`, `table.parquet`, `episodes.vtt`, `timeline.png` and so on. */
  async download(what) {
    const answer = await request(`${this.#place}/${what}`);
    const stem = this.#file.name.replace(/\.[^.]*$/, "");
    save(await answer.blob(), `${stem}-${what}`);
  }

  /** Stop whatever goes on, and have the server forget the film and its results. */
  discard() {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    // Nobody waits for the answer; a server that is gone has forgotten it anyway.
    if (this.#place) request(this.#place, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}
