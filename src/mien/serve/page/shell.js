/** Around the stage: theme, dialogs, brief messages, shortcuts, and files dropped anywhere on the page. */

import { keep, recall } from "./preferences.js";
import { sentence } from "./states.js";

const $ = (id) => document.getElementById(id);
const BRIEF = 4000;

/** Light or dark, the other one; kept for the next visit. */
export function toggleTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  root.dataset.theme = (root.dataset.theme ?? system) === "dark" ? "light" : "dark";
  keep("theme", root.dataset.theme);
}

let fading = 0;

/** A message that goes away by itself. */
export function toast(text) {
  const place = $("toast");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => (place.hidden = true), BRIEF + 40 * text.length);
}

/** Run a download from a button, which rests meanwhile; tells what went wrong. */
export async function downloading(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    toast(sentence(`The download failed: ${error.message}`));
  } finally {
    button.disabled = false;
  }
}

/** Open a dialog as one that has to be closed first; a click beside it does that too. */
export function showDialog(id) {
  const dialog = $(id);
  if (!dialog.open) dialog.showModal();
  dialog.onclick = (event) => {
    const beside = event.target === dialog && isBeside(event, dialog);
    if (beside || event.target.closest(".shut")) dialog.close();
  };
}

function isBeside({ clientX, clientY }, dialog) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return clientX < left || clientX > right || clientY < top || clientY > bottom;
}

/** Call `actions[key]` for single keys, unless they are switched off, meant for a control, or a dialog is open. */
export function listenForKeys(actions) {
  const wanted = $("keys");
  wanted.checked = recall("keys", true);
  wanted.addEventListener("change", () => keep("keys", wanted.checked));
  document.addEventListener("keydown", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!(key in actions) || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (!wanted.checked || document.querySelector("dialog[open]")) return;
    const control = event.target.closest?.("button, input, select, a");
    if (control?.matches("select") || (control && key === " ")) return;
    event.preventDefault();
    actions[key]();
  });
}

/** Call `take(file)` with a file that is picked through `pick()`, dropped on the page or pasted into it. */
export function listenForFiles(take) {
  const input = $("file");
  const veil = $("veil");
  let depth = 0;
  const given = (files) => files?.length && take(files[0], files.length);
  input.addEventListener("change", () => {
    given(input.files);
    input.value = ""; // the same file may be chosen again
  });
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => holdsFiles(event) && ((depth += 1), (veil.hidden = false)));
  document.addEventListener("dragleave", (event) => holdsFiles(event) && (depth -= 1) <= 0 && (veil.hidden = true));
  document.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    given(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => given(event.clipboardData?.files));
  return () => input.click();
}
