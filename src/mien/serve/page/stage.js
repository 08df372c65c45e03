/** The stage: which source it shows, the sheets that lie over it, and a snapshot of what is to be seen. */

const $ = (id) => document.getElementById(id);

export class Stage {
  /** "idle", "work" (something is on its way), "live", "photo" or "film". */
  mode = "idle";
  #root = $("stage");
  #video = $("video");
  #photo = $("photo");
  #sheets = ["welcome", "trouble", "job"].map($);
  #hint = $("hint");
  #retry = () => {};

  constructor() {
    $("trouble-retry").addEventListener("click", () => this.#retry());
    this.#video.addEventListener("resize", () => this.#shape(this.#video.videoWidth, this.#video.videoHeight));
    this.#photo.addEventListener("load", () => this.#shape(this.#photo.naturalWidth, this.#photo.naturalHeight));
    this.setMode("idle");
  }

  /** Show that source, and of all controls those that are made for it (`data-for`). */
  setMode(mode) {
    this.mode = mode;
    document.documentElement.dataset.mode = mode;
    for (const part of document.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(mode);
    this.#video.hidden = mode !== "live" && mode !== "film";
    this.#photo.hidden = mode !== "photo";
    this.hint("");
    this.#sheet(mode === "idle" ? "welcome" : null);
    this.lost = false;
    if (mode !== "live") this.mirrored = false;
    if (mode === "idle") this.#root.style.removeProperty("--aspect");
  }

  set mirrored(mirrored) {
    this.#root.classList.toggle("mirrored", mirrored);
  }

  /** Whether the picture is greyed: what is on screen is not being read. */
  set lost(lost) {
    this.#root.classList.toggle("lost", lost);
  }

  /** On a phone the stage takes the shape of what it shows. */
  #shape(width, height) {
    if (height) this.#root.style.setProperty("--aspect", width / height);
  }

  /** Tell what is wrong, in place of everything else on the stage. */
  trouble({ title, text }, retry, action = "Try again") {
    for (const [id, words] of [["trouble-title", title], ["trouble-text", text]])
      if ($(id).textContent !== words) $(id).textContent = words; // it is read out with every change
    $("trouble-retry").textContent = action;
    $("trouble-retry").hidden = !retry;
    this.#retry = retry ?? (() => {});
    this.#sheet("trouble");
  }

  /** Tell how far a long task is, 0..1; without a share the bar only shows that there is one. */
  job(title, text, share) {
    $("job-title").textContent = title;
    $("job-text").textContent = text;
    if (share === undefined) $("job-bar").removeAttribute("value");
    else $("job-bar").value = share;
    this.#sheet("job");
  }

  /** Take away what lies over the picture. */
  settle() {
    this.#sheet(this.mode === "idle" ? "welcome" : null);
  }

  get troubled() {
    return !$("trouble").hidden;
  }

  #sheet(name) {
    for (const sheet of this.#sheets) sheet.hidden = sheet.id !== name;
  }

  /** A word at the lower edge; none for an empty one. */
  hint(text) {
    if (text) this.#hint.textContent = text;
    this.#hint.hidden = !text;
  }

  /** What is on the stage with its overlay, in the source's own size, as a PNG. */
  async snapshot(overlay) {
    const source = this.mode === "photo" ? this.#photo : this.#video;
    const canvas = document.createElement("canvas");
    canvas.width = source.naturalWidth ?? source.videoWidth;
    canvas.height = source.naturalHeight ?? source.videoHeight;
    if (!canvas.width) throw new Error("there is no picture yet");
    const context = canvas.getContext("2d");
    if (overlay.mirrored) context.setTransform(-1, 0, 0, 1, canvas.width, 0);
    context.drawImage(source, 0, 0, canvas.width, canvas.height);
    context.setTransform(1, 0, 0, 1, 0, 0);
    overlay.paintOn(context, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}
