/** The canvas over the picture: keeps what is shown, lets boxes glide from answer to answer, follows every resize. */

import { contain, paintFaces } from "./paint.js";

/** Milliseconds in which a box comes two thirds of its way. */
const GLIDE = 45;
const NEAR = 0.4;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Overlay {
  /** Whether the picture below is shown turned over, and whether seven bars are painted beside each face. */
  mirrored = false;
  bars = true;
  #canvas;
  #context;
  #frame = null;
  #boxes = new Map();
  #places = new Map();
  #painting = 0;
  #before = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    new ResizeObserver(() => this.refresh()).observe(canvas);
  }

  /** Show the faces of a frame, whose boxes are in pixels of a picture of `width` by `height`. */
  show(faces, width, height) {
    const changed = this.#frame && (this.#frame.width !== width || this.#frame.height !== height);
    if (changed) this.#boxes.clear();
    const people = faces.map((face, i) => ({ ...face, name: face.id ? String(face.id) : "", key: face.id || -1 - i }));
    const keys = new Set(people.map((person) => person.key));
    for (const known of [this.#boxes, this.#places])
      for (const key of known.keys()) if (!keys.has(key)) known.delete(key);
    this.#frame = { people, width, height };
    this.#schedule();
  }

  clear() {
    this.#frame = null;
    this.#boxes.clear();
    this.#places.clear();
    this.#schedule();
  }

  /** Paint again, at once and in place: the canvas or what belongs to the view has changed. */
  refresh() {
    this.#boxes.clear();
    this.#places.clear();
    this.#schedule();
  }

  /** Paint the faces over a picture of `width` by `height` that fills another canvas. */
  paintOn(context, width, height) {
    if (!this.#frame) return;
    const scale = width / this.#frame.width;
    const unit = Math.max(0.9, Math.sqrt(width * height) / 760);
    this.#paint(context, this.#frame.people, { scale, left: 0, top: 0, width, height, unit });
  }

  #schedule() {
    if (this.#painting) return;
    this.#before = performance.now();
    this.#painting = requestAnimationFrame((now) => this.#step(now));
  }

  #step(now) {
    this.#painting = 0;
    const share = calm.matches ? 1 : 1 - Math.exp(-Math.max(now - this.#before, 8) / GLIDE);
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const density = devicePixelRatio || 1;
    const pixels = [Math.round(width * density), Math.round(height * density)];
    if (this.#canvas.width !== pixels[0] || this.#canvas.height !== pixels[1])
      [this.#canvas.width, this.#canvas.height] = pixels;
    const context = this.#context;
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.#frame || !width || !height) return;
    const moving = this.#glide(share);
    const gliding = this.#frame.people.map((person) => ({ ...person, box: this.#boxes.get(person.key) }));
    const fitted = contain(this.#frame.width, this.#frame.height, width, height);
    this.#paint(context, gliding, { ...fitted, width, height, unit: 1, places: this.#places });
    if (moving) this.#schedule();
  }

  /** Bring every box nearer to where it should be; true while one is on its way. */
  #glide(share) {
    let moving = false;
    for (const { key, box } of this.#frame.people) {
      const at = this.#boxes.get(key);
      if (!at) {
        this.#boxes.set(key, [...box]);
        continue;
      }
      for (const k of box.keys()) {
        at[k] += (box[k] - at[k]) * share;
        if (Math.abs(box[k] - at[k]) > NEAR) moving = true;
        else at[k] = box[k];
      }
    }
    return moving;
  }

  #paint(context, people, view) {
    const font = getComputedStyle(this.#canvas).fontFamily;
    const { mirrored, bars } = this;
    paintFaces(context, people, { ...view, font, mirrored, bars, frameWidth: this.#frame.width,
      frameHeight: this.#frame.height });
  }
}
