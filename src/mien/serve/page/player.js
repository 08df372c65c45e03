/** A film that has been analysed: played here from the visitor's own file, with what was seen, moment by moment. */

import { clock, range } from "./expressions.js";

const $ = (id) => document.getElementById(id);

/**
 * `on` has the callbacks
 *   faces(faces, width, height)   those of the moment on screen; boxes are in pixels of the film
 *   playing(is)                   whether it plays
 *   unplayable()                  this browser cannot show that kind of film; everything else goes on
 */
export class Player {
  #video;
  #timeline;
  #on;
  #film = null;
  #address = "";
  #duration = 0;
  #position = 0;
  #shows = false;

  constructor(video, timeline, on) {
    this.#video = video;
    this.#timeline = timeline;
    this.#on = on;
    video.addEventListener("play", () => this.#film && on.playing(true));
    video.addEventListener("pause", () => this.#film && on.playing(false));
    for (const name of ["timeupdate", "seeked"])
      video.addEventListener(name, () => this.#shows && this.#moment(video.currentTime));
    timeline.onSeek = (seconds) => this.seek(seconds);
  }

  /** Show an analysed film and its file. */
  async open(film, file) {
    this.#film = film;
    this.#address = URL.createObjectURL(file);
    this.#duration = film.duration;
    this.#timeline.film(film.duration, film.interval);
    for (const { time, faces } of film.frames) this.#timeline.add(time, faces);
    this.#shows = await this.#load();
    if (this.#film !== film) return;
    if (this.#shows) this.#follow();
    else this.#on.unplayable();
    await this.#listMoments(film);
    this.#moment(0);
  }

  #load() {
    const video = this.#video;
    this.#setSound(false);
    return new Promise((resolve) => {
      video.onloadeddata = () => resolve(video.videoWidth > 0);
      video.onerror = () => resolve(false);
      video.src = this.#address;
    });
  }

  close() {
    this.#film = null;
    this.#shows = false;
    this.#video.pause();
    this.#video.onloadeddata = this.#video.onerror = null;
    this.#video.removeAttribute("src");
    this.#video.load();
    URL.revokeObjectURL(this.#address);
    $("moments").replaceChildren();
    $("moments-count").textContent = "";
    $("moment").textContent = "";
  }

  toggle() {
    if (!this.#shows) return;
    if (this.#video.paused) this.#video.play().catch(() => {}); // closed meanwhile
    else this.#video.pause();
  }

  toggleSound() {
    this.#setSound(this.#video.muted);
  }

  #setSound(on) {
    this.#video.muted = !on;
    $("sound").setAttribute("aria-pressed", on);
    $("sound-icon").setAttribute("href", on ? "#i-sound" : "#i-mute");
  }

  seek(seconds) {
    if (!this.#film) return;
    if (this.#shows) this.#video.currentTime = Math.min(seconds, Math.max(this.#video.duration - 0.01, 0));
    this.#moment(seconds);
  }

  /** Show the same moment again: what belongs to its view has changed. */
  refresh() {
    if (this.#film) this.#moment(this.#position);
  }

  /** Frame by frame where the browser tells each; elsewhere the coarser `timeupdate` does. */
  #follow() {
    const film = this.#film;
    this.#video.requestVideoFrameCallback?.((_, { mediaTime }) => {
      if (this.#film !== film) return;
      this.#moment(mediaTime);
      this.#follow();
    });
  }

  #moment(seconds) {
    if (!this.#film) return;
    this.#position = seconds;
    this.#timeline.position = seconds;
    const digits = this.#duration < 60 ? 1 : 0;
    $("moment").textContent = [seconds, this.#duration].map((time) => clock(time, this.#duration, digits)).join(" / ");
    const { videoWidth, videoHeight } = this.#video;
    this.#on.faces(this.#film.at(seconds), videoWidth || 1, videoHeight || 1);
  }

  async #listMoments(film) {
    const episodes = await film.episodes();
    if (this.#film !== film) return;
    const items = episodes.map((episode) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.label = episode.label;
      button.append(span(`Person ${episode.id}: ${episode.label}`, ""));
      button.append(span(range(episode.onset_s, episode.offset_s, this.#duration), "when"));
      button.addEventListener("click", () => this.seek(episode.onset_s + 0.001));
      const item = document.createElement("li");
      item.append(button);
      return item;
    });
    $("moments").replaceChildren(...items);
    $("moments-count").textContent = items.length || "";
    $("no-moments").hidden = items.length > 0;
  }
}

function span(text, name) {
  const made = document.createElement("span");
  made.textContent = text;
  made.className = name;
  return made;
}
