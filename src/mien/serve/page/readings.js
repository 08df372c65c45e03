/** What is said of faces: overlay and list show the same numbers at any moment, and change them slowly enough to be
 * read; boxes follow every frame. */

/** Milliseconds between two changes of the numbers. */
const PACE = 150;

export class Readings {
  #overlay;
  #people;
  #read = new Map();
  #at = -PACE;
  #waiting = 0;

  constructor(overlay, people) {
    this.#overlay = overlay;
    this.#people = people;
  }

  /** Show the faces of a frame of that size, less those that may turn out to be none (id 0). */
  show(all, width, height) {
    clearTimeout(this.#waiting);
    const faces = all.filter((face) => face.id !== 0);
    const rest = this.#at + PACE - performance.now();
    // Nobody is new, so their last numbers stay for a moment.
    const known = faces.length === this.#read.size && faces.every((face) => face.id && this.#read.has(face.id));
    if (rest <= 0 || !known) {
      this.#update(faces, width, height);
      return;
    }
    this.#overlay.show(faces.map((face) => ({ ...face, ...this.#read.get(face.id) })), width, height);
    this.#waiting = setTimeout(() => this.#update(faces, width, height), rest);
  }

  /** Show nobody, and in the list a sentence. */
  clear(sentence) {
    clearTimeout(this.#waiting);
    this.#read.clear();
    this.#overlay.clear();
    this.#people.clear(sentence);
  }

  #update(faces, width, height) {
    this.#at = performance.now();
    this.#read = new Map(
      faces.map(({ id, label, confidence, probabilities }) => [id, { label, confidence, probabilities }]),
    );
    this.#overlay.show(faces, width, height);
    this.#people.show(faces, width, height);
  }
}
