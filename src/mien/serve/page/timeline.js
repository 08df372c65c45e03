/** The timeline: lanes of people with stacked probabilities; scrolls while live, is the film's scrub bar otherwise. */

import { LABELS, STACK, clock, colour } from "./expressions.js";
import { LiveLanes, filmLanes } from "./lanes.js";

/** Seconds that are shown while live. */
export const WINDOW = 30;
/** Seconds; who is seen for less time in a film has no lane, as they have no episode. */
const SHORTEST = 0.3;
/** Pixels; in a narrower one names are numbers. */
const NARROW = 520;
const AXIS = 26;
const GAP = 10;
/** Height of the names over lanes that people share. */
const NAMES = 18;
/** Seconds for which somebody unseen still counts as seen; with no frame between, this long even. */
const REACH = 0.4;
const LONGEST = 3;
/** The same in frames of a film, whichever is longer. */
const REACH_FRAMES = 2.5;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
/** Pixels; samples that are closer together are painted as their mean. */
const FINEST = 0.5;

export class Timeline {
  /** Called with seconds when the visitor chooses a moment of a film. */
  onSeek = () => {};
  #canvas;
  #context;
  #note;
  #people = new Map();
  #live = new LiveLanes();
  #now = 0;
  #count = 0;
  #duration = null;
  #reach = REACH;
  #interval = 0;
  #laidOut = [];
  #position = 0;
  #layer = null;
  #painting = 0;

  /** `note` is an element for a sentence about people who have no lane. */
  constructor(canvas, note) {
    this.#canvas = canvas;
    this.#note = note;
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
    this.#canvas.setAttribute("aria-label", `Expressions of the last ${WINDOW} seconds, in lanes of people`);
    this.#canvas.removeAttribute("tabindex");
    for (const name of ["min", "max", "now", "text"]) this.#canvas.removeAttribute(`aria-value${name}`);
  }

  /** Begin one of a film of `duration` seconds, analysed every `interval` seconds: all of it is shown. */
  film(duration, interval) {
    this.#interval = interval;
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
    this.#live.clear();
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
      if (!this.#people.has(face.id)) this.#people.set(face.id, { times: [], counts: [], shares: [] });
      const person = this.#people.get(face.id);
      person.times.push(time);
      person.counts.push(this.#count);
      person.shares.push(LABELS.map((label) => face.probabilities[label]));
    }
    if (this.#duration === null) {
      for (const face of faces) if (face.id) this.#live.place(face.id, (id) => this.#goneSince(id));
      this.#forget(time - WINDOW - 2);
    }
    this.refresh();
  }

  #goneSince(id) {
    const { times, counts } = this.#people.get(id);
    return counts.at(-1) < this.#count ? times.at(-1) : undefined;
  }

  #forget(before) {
    for (const [id, { times, counts, shares }] of this.#people) {
      const old = times.findIndex((time) => time >= before);
      if (old === -1) {
        this.#people.delete(id);
        this.#live.remove(id);
      } else if (old > 100) [times, counts, shares].forEach((column) => column.splice(0, old));
    }
  }

  /** The moment of the film that is on screen, in seconds. */
  set position(seconds) {
    this.#position = seconds;
    this.#canvas.setAttribute("aria-valuenow", seconds.toFixed(1));
    const digits = this.#duration < 60 ? 1 : 0;
    const words = [seconds, this.#duration].map((time) => clock(time, this.#duration, digits)).join(" of ");
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

  /** Lists of `{id, start, end, ...person}`, each in the order of time. */
  #lanes() {
    const stay = ([id, person]) => ({ id, ...person, start: person.times[0], end: person.times.at(-1) });
    if (this.#duration === null) {
      const of = (id) => stay([id, this.#people.get(id)]);
      return this.#live.lanes.map((lane) => lane.map(of));
    }
    const longest = [...this.#people].sort((a, b) => b[1].times.length - a[1].times.length).map(stay);
    const lasting = longest.filter((person) => person.times.length * this.#interval >= SHORTEST);
    return filmLanes(lasting.length ? lasting : longest);
  }

  #paint() {
    this.#painting = 0;
    const lanes = this.#layer ? this.#laidOut : this.#lanes();
    this.#laidOut = lanes;
    const shared = lanes.some((lane) => lane.length > 1);
    const lane = lanes.length <= 2 ? 56 : 38;
    const row = lane + GAP + (shared ? NAMES : 0);
    const height = (lanes.length ? lanes.length * row : lane + 2 * GAP) + AXIS;
    if (this.#canvas.style.height !== `${height}px`) this.#canvas.style.height = `${height}px`;
    const width = this.#canvas.clientWidth;
    if (!width) return;
    const density = devicePixelRatio || 1;
    const pixels = [Math.round(width * density), Math.round(height * density)];
    if (this.#canvas.width !== pixels[0] || this.#canvas.height !== pixels[1]) {
      [this.#canvas.width, this.#canvas.height] = pixels;
      this.#layer = null;
    }
    const left = width < NARROW ? 30 : 84;
    const plot = { left, width: width - left - 8, height, lane, row, shared, short: width < NARROW };
    if (!this.#layer) {
      this.#layer = new OffscreenCanvas(...pixels);
      const context = this.#layer.getContext("2d");
      context.setTransform(density, 0, 0, density, 0, 0);
      this.#paintLanes(context, lanes, plot);
      this.#noteOthers(lanes);
    }
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, ...pixels);
    context.drawImage(this.#layer, 0, 0);
    context.setTransform(density, 0, 0, density, 0, 0);
    if (this.#duration !== null) this.#paintPlayhead(context, plot);
  }

  #noteOthers(lanes) {
    const others = this.#people.size - lanes.flat().length;
    const who = others === 1 ? "1 more person has" : `${others} more people have`;
    const text = this.#duration === null ? `${who} no lane here.` : `${who} no lane here: they were seen for less time.`;
    this.#note.textContent = others ? text : "";
    this.#note.hidden = !others;
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
    for (const [k, lane] of lanes.entries()) {
      const top = GAP / 2 + k * plot.row + (plot.shared ? NAMES : 0);
      context.fillStyle = tones.ink;
      context.textAlign = "left";
      context.fillText(laneName(lane, plot.short, this.#duration === null), 2, top + plot.lane / 2);
      context.fillStyle = tones.line;
      context.fillRect(plot.left, top + plot.lane, plot.width, 1);
      context.save();
      context.beginPath();
      context.rect(plot.left, top - NAMES, plot.width, plot.lane + NAMES);
      context.clip();
      for (const person of lane)
        for (const run of this.#runs(person, from)) paintRun(context, person, run, x, top, plot.lane);
      if (lane.length > 1) paintNames(context, lane, tones, x, top, plot);
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
    const left = width < NARROW ? 30 : 84;
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

/** On the left of a lane: who it is; while live, who was there last; of several in a film, how many. */
function laneName(lane, short, live) {
  if (lane.length > 1 && !live) return short ? "" : `${lane.length} people`;
  return short ? `${lane.at(-1).id}` : `Person ${lane.at(-1).id}`;
}

/** Over the stretches of a shared lane: who it is, as far as there is room before the next one. */
function paintNames(context, lane, tones, x, top, plot) {
  const places = lane.map((person, i) => {
    const end = i + 1 < lane.length ? x(lane[i + 1].start) : plot.left + plot.width;
    return { id: person.id, start: x(person.start), end, left: x(person.end) <= plot.left };
  });
  const fits = (name, { start, end }) => context.measureText(name).width + 8 <= end - start;
  const seen = places.filter(({ start, end, left }) => end > start && !left);
  const short = !seen.every((place) => fits(`Person ${place.id}`, place));
  for (const place of seen) {
    const { id, start } = place;
    context.clearRect(start - 1, top, 1, plot.lane);
    context.fillStyle = tones.faint;
    context.fillRect(start, top - 13, 1, 13);
    context.fillStyle = tones.ink;
    const name = short ? `${id}` : `Person ${id}`;
    if (fits(name, place)) context.fillText(name, start + 4, top - 8);
  }
}

/** One stretch as stacked areas in steps: a sample lasts until the next. */
function paintRun(context, { times, shares }, [first, behind, end], x, top, height) {
  const edges = [];
  const samples = [];
  for (let i = first; i < behind; i += 1) {
    const at = x(times[i]);
    if (edges.length && at - edges.at(-1) < FINEST) {
      const sample = samples.at(-1);
      sample.count += 1;
      for (const [k, share] of shares[i].entries()) sample.sums[k] += share;
    } else {
      edges.push(at);
      samples.push({ sums: [...shares[i]], count: 1 });
    }
  }
  edges.push(x(end));
  const base = top + height;
  const low = new Float32Array(samples.length);
  for (const label of STACK) {
    const which = LABELS.indexOf(label);
    const high = low.map((value, i) => value + samples[i].sums[which] / samples[i].count);
    context.beginPath();
    for (const [i, value] of high.entries()) {
      context.lineTo(edges[i], base - height * value);
      context.lineTo(edges[i + 1], base - height * value);
    }
    for (let i = low.length - 1; i >= 0; i -= 1) {
      context.lineTo(edges[i + 1], base - height * low[i]);
      context.lineTo(edges[i], base - height * low[i]);
    }
    context.fillStyle = colour(label);
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
