/** The list of people: all that the overlay shows, as text and bars, and for screen readers as calm announcements. */

import { LABELS, percent } from "./expressions.js";
import { toView } from "./paint.js";

/** Milliseconds at least between two announcements. */
const CALM = 4000;
/** With more people than this, each has one line; on a phone already from the second on. */
const ROOMY = 2;
const phone = matchMedia("(max-width: 600px)");

export class People {
  mirrored = false;
  #list;
  #status;
  #empty;
  #said = "";
  #saidAt = -CALM;

  /** `list` is a ul, `empty` what stands in its place, `status` a live region that only screen readers perceive. */
  constructor(list, empty, status) {
    this.#list = list;
    this.#empty = empty;
    this.#status = status;
  }

  /** Show nobody, and in their place a sentence. */
  clear(sentence) {
    this.#list.replaceChildren();
    this.#empty.textContent = sentence;
    this.#empty.hidden = false;
    this.#said = "";
  }

  /** Show the faces of a frame of that size. */
  show(faces, width, height) {
    const people = faces.map((face, i) => ({ ...face, title: titleOf(face, i, faces.length) }));
    if (faces.every((face) => face.id)) people.sort((a, b) => a.id - b.id);
    while (this.#list.children.length > people.length) this.#list.lastChild.remove();
    while (this.#list.children.length < people.length) this.#list.append(makeItem());
    this.#list.classList.toggle("compact", people.length > (phone.matches ? 1 : ROOMY));
    for (const [i, person] of people.entries()) this.#fill(this.#list.children[i], person, width, height);
    this.#empty.hidden = people.length > 0;
    this.#empty.textContent = "No face found.";
    this.#announce(people);
  }

  #fill(item, person, width, height) {
    item.dataset.id = person.id ?? "";
    item.dataset.label = person.label;
    // x1 y1 x2 y2 as shares of the picture, for scripts of others.
    item.dataset.box = person.box.map((value, k) => (value / (k % 2 ? height : width)).toFixed(4)).join(" ");
    const [title, where, label, share, bars] = item.children;
    title.textContent = person.title;
    where.textContent = placeOf(person.box, width, this.mirrored);
    label.textContent = person.label;
    share.textContent = percent(person.confidence);
    const best = Math.max(...LABELS.map((name) => person.probabilities[name]));
    for (const [k, name] of LABELS.entries()) {
      const row = bars.children[k];
      row.classList.toggle("best", person.probabilities[name] === best);
      row.style.setProperty("--share", person.probabilities[name]);
      row.lastChild.textContent = percent(person.probabilities[name]);
    }
  }

  #announce(people) {
    const text = people.length
      ? people.map((person) => `${person.title}: ${person.label}`).join("; ")
      : "No face found";
    const now = performance.now();
    if (text === this.#said || now - this.#saidAt < CALM) return;
    this.#said = text;
    this.#saidAt = now;
    this.#status.textContent = text;
  }
}

function titleOf(face, i, count) {
  if (face.id) return `Person ${face.id}`;
  if (face.id === 0) return "New face";
  return count === 1 ? "Face" : `Face ${i + 1}`;
}

/** Where in the picture, as the visitor sees it. */
function placeOf(box, width, mirrored) {
  const view = { frameWidth: width, mirrored, scale: 1, left: 0, top: 0 };
  const [x1, , x2] = toView(box, view);
  const share = (x1 + x2) / 2 / width;
  return share < 0.38 ? "on the left" : share > 0.62 ? "on the right" : "in the middle";
}

function makeItem() {
  const item = document.createElement("li");
  item.className = "person";
  for (const name of ["title", "where", "label", "share"]) item.append(element("span", name));
  const bars = element("span", "bars");
  for (const name of LABELS) {
    const row = element("span", "row");
    row.dataset.label = name;
    const bar = element("span", "track");
    bar.append(element("span", "fill"));
    row.append(element("span", "name", name), bar, element("span", "value"));
    bars.append(row);
  }
  item.append(bars);
  return item;
}

function element(kind, name, text = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
}
