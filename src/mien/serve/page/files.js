/** Photos and films that the visitor opens: sent to the server, shown with what it read. */

import { Problem, upload } from "./api.js";
import { LABELS, UNCERTAIN, clock } from "./expressions.js";
import { Film } from "./film.js";
import { Player } from "./player.js";
import { downloading, toast } from "./shell.js";
import { sentence } from "./states.js";

const $ = (id) => document.getElementById(id);
const FILM_NAMES = /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|ogv|wmv|flv)$/i;
const PHOTO_NAMES = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|heic)$/i;

export class Files {
  #stage;
  #view;
  #player;
  #film = null;
  #photo = null;
  #abort = null;

  /** `view` shows faces: `show(faces, width, height)` and `clear(sentence)`, and knows the `threshold`. */
  constructor(stage, timeline, view) {
    this.#stage = stage;
    this.#view = view;
    this.#player = new Player($("video"), timeline, {
      faces: (faces, width, height) => this.#view.show(this.#judged(faces), width, height),
      playing: (is) => view.playing(is),
      unplayable: () => stage.hint("This browser cannot play the film; its timeline and tables are complete."),
    });
    for (const button of $("downloads").children)
      button.addEventListener("click", () => downloading(button, () => this.#film.download(button.dataset.what)));
  }

  /** Analyse a file and show it. Whatever was shown before has been closed. */
  async open(file) {
    const kind = kindOf(file);
    try {
      if (kind === "photo") await this.#openPhoto(file);
      else if (kind === "film") await this.#openFilm(file);
      else toast(`${file.name} is neither a photo nor a film.`);
    } catch (error) {
      if (error.name === "AbortError") return;
      const title = error instanceof Problem && error.title ? error.title : "That did not work";
      this.close();
      this.#stage.trouble({ title, text: sentence(error.message) }, () => this.#view.open(file));
    }
  }

  /** Stop and forget what is open; the stage is free again. */
  close() {
    this.#abort?.abort();
    this.#film?.discard();
    this.#player.close();
    if (this.#photo) URL.revokeObjectURL($("photo").src);
    $("photo").removeAttribute("src");
    this.#film = this.#photo = this.#abort = null;
    this.#stage.setMode("idle");
    this.#view.clear("Nobody yet.");
  }

  /** The threshold has changed: judge again what is on screen. */
  refresh() {
    if (this.#photo) this.#showPhoto();
    this.#player.refresh();
  }

  /** Play or pause the film. */
  toggle() {
    this.#player.toggle();
  }

  toggleSound() {
    this.#player.toggleSound();
  }

  async #openPhoto(file) {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#stage.setMode("work");
    this.#stage.job("Reading the photo", file.name);
    this.#view.clear("Reading…");
    const picture = $("photo");
    picture.src = URL.createObjectURL(file);
    const [result, shown] = await Promise.all([
      upload("/v1/analyze", file, () => {}, signal),
      picture.decode().then(() => true, () => false),
    ]);
    signal.throwIfAborted();
    this.#stage.setMode("photo");
    this.#photo = result;
    this.#showPhoto();
    if (!shown) this.#stage.hint("This browser cannot show that kind of picture; what was read is beside it.");
    else if (!result.faces.length) this.#stage.hint("No face found in this photo.");
  }

  #showPhoto() {
    const { faces, width, height } = this.#photo;
    const numbered = faces.length > 1 ? faces.map((face, i) => ({ ...face, id: i + 1 })) : faces;
    this.#view.show(this.#judged(numbered), width, height);
  }

  async #openFilm(file) {
    const film = new Film(file);
    this.#film = film;
    this.#stage.setMode("work");
    this.#view.clear("Nobody yet.");
    this.#stage.job("Uploading", file.name, 0);
    await film.analyse((step, share, state) => {
      if (this.#film !== film) return;
      if (step === "upload") this.#stage.job("Uploading", file.name, share);
      else {
        const title = state.state === "queued" ? "Waiting for its turn" : "Analysing";
        this.#stage.job(title, describe(file, state), state.duration ? share : undefined);
      }
    });
    if (this.#film !== film) return;
    this.#stage.setMode("film");
    await this.#player.open(film, file);
    if (film.remark) toast(sentence(film.remark));
  }

  /** Faces named by the threshold that is set now. */
  #judged(faces) {
    return faces.map((face) => {
      const best = LABELS.reduce((a, b) => (face.probabilities[b] > face.probabilities[a] ? b : a));
      return { ...face, label: face.probabilities[best] < this.#view.threshold ? UNCERTAIN : best };
    });
  }
}

function kindOf({ type, name }) {
  if (type.startsWith("image/") || (!type && PHOTO_NAMES.test(name))) return "photo";
  if (type.startsWith("video/") || FILM_NAMES.test(name)) return "film";
  return null;
}

function describe(file, { seconds_done: done, duration }) {
  if (!done || !duration) return file.name;
  return `${file.name}, ${clock(Number(done.toFixed(1)), duration)} of ${clock(duration, duration)}`;
}

