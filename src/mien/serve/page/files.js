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

  /**
   * `view` shows faces: `show(faces, width, height)` and `clear(sentence)`, knows the `threshold`, and makes way for a
   * file that the server has taken (`makeWay()`).
   */
  constructor(stage, timeline, view) {
    this.#stage = stage;
    this.#view = view;
    this.#player = new Player($("video"), timeline, {
      faces: (faces, width, height) => this.#view.show(this.#judged(faces), width, height),
      playing: (is) => view.playing(is),
      unplayable: () => stage.hint("This browser cannot play the film; its timeline and tables are complete."),
    });
    for (const button of $("downloads").querySelectorAll("button"))
      button.addEventListener("click", () => downloading(button, () => this.#film.download(button.dataset.what)));
  }

  /** Analyse a file and show it; what was shown before stays until the server has taken the file. */
  async open(file) {
    const kind = kindOf(file);
    if (!kind) {
      toast(`${file.name} is neither a photo nor a film.`);
      return;
    }
    this.cancel();
    const abort = new AbortController();
    this.#abort = abort;
    try {
      await (kind === "photo" ? this.#openPhoto(file, abort.signal) : this.#openFilm(file, abort.signal));
    } catch (error) {
      if (error.name === "AbortError" || abort.signal.aborted) return;
      this.#failed(file, error);
    } finally {
      if (this.#abort === abort) this.#abort = null;
    }
  }

  #failed(file, error) {
    const title = error instanceof Problem && error.title ? error.title : "That did not work";
    const text = sentence(error.message);
    if (this.#stage.mode !== "work") {
      this.#stage.settle(); // what was shown before is still there
      toast(text);
      return;
    }
    this.#release();
    this.#stage.trouble({ title, text }, () => this.#view.open(file));
  }

  /** Stop opening a file; tells whether something else is shown, which stays. */
  cancel() {
    this.#abort?.abort();
    this.#abort = null;
    if (this.#stage.mode === "work" || this.#stage.mode === "idle") return false;
    this.#stage.settle();
    return true;
  }

  /** Stop and forget what is open; the stage is free again. */
  close() {
    this.#abort?.abort();
    this.#abort = null;
    this.#release();
  }

  #release() {
    this.#film?.discard();
    this.#player.close();
    if (this.#photo) URL.revokeObjectURL($("photo").src);
    $("photo").removeAttribute("src");
    this.#film = this.#photo = null;
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

  /** Tell that a file is on its way, over what is shown so far. */
  #coming(title, file, share) {
    if (this.#stage.mode === "idle") this.#stage.setMode("work");
    this.#stage.job(title, file.name, share);
  }

  async #openPhoto(file, signal) {
    this.#coming("Reading the photo", file);
    const result = await upload("/v1/analyze", file, () => {}, signal);
    this.#view.makeWay();
    this.#release();
    this.#stage.setMode("photo");
    this.#photo = result;
    const picture = $("photo");
    picture.src = URL.createObjectURL(file);
    const displayable = await picture.decode().then(() => true, () => false);
    signal.throwIfAborted();
    this.#showPhoto();
    if (!displayable) this.#stage.hint("This browser cannot show that kind of picture; what was read is beside it.");
    else if (!result.faces.length) this.#stage.hint("No face found in this photo.");
  }

  #showPhoto() {
    const { faces, width, height } = this.#photo;
    const numbered = faces.length > 1 ? faces.map((face, i) => ({ ...face, id: i + 1 })) : faces;
    this.#view.show(this.#judged(numbered), width, height);
  }

  async #openFilm(file, signal) {
    const film = new Film(file);
    signal.addEventListener("abort", () => film.discard(), { once: true });
    this.#coming("Uploading", file, 0);
    await film.upload((share) => signal.aborted || this.#coming("Uploading", file, share));
    this.#view.makeWay();
    this.#release();
    this.#stage.setMode("work");
    this.#film = film;
    await film.analyse((share, state) => {
      if (this.#film !== film) return;
      const title = state.state === "queued" ? "Waiting for its turn" : "Analysing";
      this.#stage.job(title, describe(file, state), state.duration ? share : undefined);
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
  const digits = duration < 60 ? 1 : 0;
  return `${file.name}, ${clock(done, duration, digits)} of ${clock(duration, duration, digits)}, every frame`;
}

