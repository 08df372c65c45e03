/** The timeline: a lane per person with stacked probabilities; scrolls while live, is the film's scrub bar otherwise. */

import { LABELS, STACK, clock, colour } from "./expressions.js";

/** Seconds that are shown while live. */
export const WINDOW = 30;
/** People who get a lane: those seen last while live, those seen longest in a film. */
const LIVE_LANES = 4;
const FILM_LANES = 8;
const AXIS = 26;
const GAP = 10;
/** Seconds for which somebody unseen still counts as seen; with no frame between, this long even. */
const REACH = 0.4;
const LONGEST = 3;
/** The same in frames of a film, whichever is longer. */
const REACH_FRAMES = 2.5;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const NEUTRAL_OPACITY = 0.42;

export class Timeline {
  /** Called with seconds when the visitor chooses a moment of a film. */
  onSeek = () => {};
  #canvas;
  #context;
  #people = new Map();
  #now = 0;
  #count = 0;
  #duration = null;
  #reach = REACH;
  #position = 0;
  #layer = null;
  #painting = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    new ResizeObserver(() => this.refresh()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.#scrub(event));
    canvas.addEventListener("pointermove", (event) => event.buttons & 1 && this.#scrub(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    this.live();
  }

  /** Begin an empty one that scrolls. */
  live() {
    this.#begin(null, REACH);
    this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", `Expressions of the last ${WINDOW} seconds, a lane per person`);
    this.#canvas.removeAttribute("tabindex");
    for (const name of ["min", "max", "now", "text"]) this.#canvas.removeAttribute(`aria-value${name}`);
  }

  /** Begin one of a film of `duration` seconds, analysed every `interval` seconds: all of it is shown. */
  film(duration, interval) {
    this.#begin(duration, Math.max(REACH, REACH_FRAMES * interval));
    this.#canvas.setAttribute("role", "slider");
    this.#canvas.setAttribute("aria-label", "Moment of the film");
    this.#canvas.setAttribute("aria-valuemin", "0");
    this.#canvas.setAttribute("aria-valuemax", duration.toFixed(1));
    this.#canvas.tabIndex = 0;
    this.position = 0;
  }

  #begin(duration, reach) {
    this.#people.clear();
    this.#now = this.#position = 0;
    this.#duration = duration;
    this.#reach = reach;
    this.refresh();
  }

  /** Take in a frame's faces; `time` in seconds never goes back. Who is not followed (no id) is left out. */
  add(time, faces) {
    this.#now = time;
    this.#count += 1;
    for (const face of faces) {
      if (!face.id) continue;
      if (!this.#people.has(face.id)) this.#people.set(face.id, { times: [], counts: [], probs: [] });
      const person = this.#people.get(face.id);
      person.times.push(time);
      person.counts.push(this.#count);
      person.probabilities.push(LABELS.map((label) => face.probabilities[label]));
    }
    if (this.#duration === null) this.#forget(time - WINDOW - 2);
    this.refresh();
  }

  #forget(before) {
    for (const [id, { times, counts, probs }] of this.#people) {
      const old = times.findIndex((time) => time >= before);
      if (old === -1) this.#people.delete(id);
      else if (old > 100) [times, counts, probs].forEach((column) => column.splice(0, old));
    }
  }

  /** The moment of the film that is on screen, in seconds. */
  set position(seconds) {
    this.#position = seconds;
    this.#canvas.setAttribute("aria-valuenow", seconds.toFixed(1));
    const words = `${clock(Number(seconds.toFixed(1)), this.#duration)} of ${clock(this.#duration, this.#duration)}`;
    this.#canvas.setAttribute("aria-valuetext", words);
    this.#schedule();
  }

  /** Paint all of it again: something in it, its size or the theme has changed. */
  refresh() {
    this.#layer = null;
    this.#schedule();
  }

  #schedule() {
    this.#painting ||= requestAnimationFrame(() => this.#paint());
  }

  #lanes() {
    const most = this.#duration === null ? LIVE_LANES : FILM_LANES;
    const seen = [...this.#people].map(([id, person]) => ({ id, ...person }));
    const weight = (p) => (this.#duration === null ? p.times.at(-1) : p.times.length);
    return seen.sort((a, b) => weight(b) - weight(a)).slice(0, most).sort((a, b) => a.id - b.id);
  }

  #paint() {
    this.#painting = 0;
    const lanes = this.#lanes();
    const lane = lanes.length <= 2 ? 56 : 38;
    const height = Math.max(lanes.length, 1) * (lane + GAP) + AXIS + (lanes.length ? 0 : GAP);
    if (this.#canvas.style.height !== `${height}px`) this.#canvas.style.height = `${height}px`;
    const width = this.#canvas.clientWidth;
    if (!width) return;
    const density = devicePixelRatio || 1;
    const pixels = [Math.round(width * density), Math.round(height * density)];
    if (this.#canvas.width !== pixels[0] || this.#canvas.height !== pixels[1]) {
      [this.#canvas.width, this.#canvas.height] = pixels;
      this.#layer = null;
    }
    const left = width < 520 ? 30 : 84;
    const plot = { left, width: width - left - 8, height, lane, short: width < 520 };
    if (!this.#layer) {
      this.#layer = new OffscreenCanvas(...pixels);
      const context = this.#layer.getContext("2d");
      context.setTransform(density, 0, 0, density, 0, 0);
      this.#paintLanes(context, lanes, plot);
    }
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, ...pixels);
    context.drawImage(this.#layer, 0, 0);
    context.setTransform(density, 0, 0, density, 0, 0);
    if (this.#duration !== null) this.#paintPlayhead(context, plot);
  }

  #range() {
    return this.#duration === null ? [this.#now - WINDOW, this.#now] : [0, Math.max(this.#duration, 0.1)];
  }

  #paintLanes(context, lanes, plot) {
    const style = getComputedStyle(this.#canvas);
    const tones = { ink: style.color, faint: style.getPropertyValue("--faint"), line: style.getPropertyValue("--line") };
    const [from, to] = this.#range();
    const x = (time) => plot.left + ((Math.min(Math.max(time, from), to) - from) / (to - from)) * plot.width;
    context.font = `12px ${style.fontFamily}`;
    context.textBaseline = "middle";
    this.#paintAxis(context, plot, tones, x, to - from);
    if (!lanes.length) {
      context.fillStyle = tones.faint;
      context.textAlign = "center";
      const words = this.#duration === null ? "People appear here as they are seen." : "Nobody was seen.";
      context.fillText(words, plot.left + plot.width / 2, (plot.height - AXIS) / 2);
    }
    for (const [row, person] of lanes.entries()) {
      const top = GAP / 2 + row * (plot.lane + GAP);
      context.fillStyle = tones.ink;
      context.textAlign = "left";
      context.fillText(plot.short ? `${person.id}` : `Person ${person.id}`, 2, top + plot.lane / 2);
      context.fillStyle = tones.line;
      context.fillRect(plot.left, top + plot.lane, plot.width, 1);
      context.save();
      context.beginPath();
      context.rect(plot.left, top, plot.width, plot.lane);
      context.clip();
      for (const run of this.#runs(person, from)) paintRun(context, person, run, x, top, plot.lane);
      context.restore();
    }
  }

  #paintAxis(context, plot, tones, x, span) {
    const live = this.#duration === null;
    const most = plot.short ? 4 : 9;
    const step = STEPS.find((seconds) => span / seconds <= most) ?? Math.ceil(span / most / 3600) * 3600;
    const bottom = plot.height - AXIS;
    const empty = !this.#people.size;
    for (let tick = 0; tick <= span + 1e-9; tick += step) {
      const at = live ? plot.left + plot.width * (1 - tick / span) : x(tick);
      context.fillStyle = tones.line;
      context.fillRect(Math.round(at), empty ? bottom : 0, 1, empty ? 5 : bottom + 5);
      context.fillStyle = tones.faint;
      const text = !live ? clock(tick, span) : tick ? `−${clock(tick, span)}` : "now";
      const half = context.measureText(text).width / 2;
      context.textAlign = "left";
      context.fillText(text, Math.min(Math.max(at - half, 0), plot.left + plot.width + 8 - 2 * half), bottom + 15);
    }
  }

  /** Stretches of samples without a gap, as `[first, behind the last, end of the last in seconds]`. */
  *#runs({ times, counts }, from) {
    // While live, a slow answer is no absence: only frames without the person are.
    const longest = this.#duration === null ? LONGEST : this.#reach;
    let first = Math.max(0, times.findIndex((time) => time >= from - longest));
    for (let i = first; i < times.length; i += 1) {
      const gap = times[i + 1] - times[i]; // not a number after the last
      if (gap <= (counts[i + 1] === counts[i] + 1 ? longest : this.#reach)) continue;
      const step = i > first ? Math.min(times[i] - times[i - 1], this.#reach) : this.#reach / 4;
      yield [first, i + 1, times[i] + step];
      first = i + 1;
    }
  }

  #paintPlayhead(context, plot) {
    const [, to] = this.#range();
    const x = Math.round(plot.left + (Math.min(this.#position, to) / to) * plot.width);
    const style = getComputedStyle(this.#canvas);
    context.fillStyle = style.getPropertyValue("--accent");
    context.fillRect(x - 1, 0, 2, plot.height - AXIS + 4);
    context.beginPath();
    context.arc(x, 5, 5, 0, 2 * Math.PI);
    context.fill();
  }

  #scrub(event) {
    if (this.#duration === null) return;
    if (event.type === "pointerdown") this.#canvas.setPointerCapture(event.pointerId);
    const width = this.#canvas.clientWidth;
    const left = width < 520 ? 30 : 84;
    const share = (event.offsetX - left) / (width - left - 8);
    this.onSeek(Math.min(Math.max(share, 0), 1) * this.#duration);
  }

  #key(event) {
    if (this.#duration === null) return;
    const far = event.shiftKey ? 5 : 1;
    const moves = { ArrowLeft: -far, ArrowDown: -far, ArrowRight: far, ArrowUp: far, PageDown: -10, PageUp: 10 };
    const ends = { Home: 0, End: this.#duration };
    if (!(event.key in moves) && !(event.key in ends)) return;
    event.preventDefault();
    const wanted = ends[event.key] ?? this.#position + moves[event.key];
    this.onSeek(Math.min(Math.max(wanted, 0), this.#duration));
  }
}

/** One stretch as stacked areas in steps: a sample lasts until the next. */
function paintRun(context, { times, probs }, [first, behind, end], x, top, height) {
  const edges = times.slice(first, behind).map(x);
  edges.push(x(end));
  const base = top + height;
  const low = new Float32Array(behind - first);
  for (const label of STACK) {
    const which = LABELS.indexOf(label);
    const high = low.map((value, i) => value + probs[first + i][which]);
    context.beginPath();
    for (const [i, value] of high.entries()) {
      context.lineTo(edges[i], base - height * value);
      context.lineTo(edges[i + 1], base - height * value);
    }
    for (let i = low.length - 1; i >= 0; i -= 1) {
      context.lineTo(edges[i + 1], base - height * low[i]);
      context.lineTo(edges[i], base - height * low[i]);
    }
    context.fillStyle = label === "neutral" ? colour(label, NEUTRAL_OPACITY) : colour(label);
    context.fill();
    low.set(high);
  }
}

/** Name and swatch of every expression, as list items. */
export function legend(list) {
  list.replaceChildren();
  for (const label of LABELS) {
    const item = document.createElement("li");
    item.dataset.label = label;
    item.textContent = label;
    list.append(item);
  }
}
