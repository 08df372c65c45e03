/** The page: wires camera, server, stage, timeline and controls together; each of them knows nothing of the others. */

import { request, save, stamp } from "./api.js";
import { listCameras } from "./camera.js";
import { COLOURS, LABELS, colour, setLabels } from "./expressions.js";
import { Files } from "./files.js";
import { Live } from "./live.js";
import { Overlay } from "./overlay.js";
import { People } from "./people.js";
import { keep, recall } from "./preferences.js";
import { Readings } from "./readings.js";
import { Recorder } from "./recorder.js";
import { listenForFiles, listenForKeys, showDialog, toast, toggleTheme } from "./shell.js";
import { Settings } from "./settings.js";
import { Stage } from "./stage.js";
import { cameraTrouble, lineTrouble, privacy, sentence } from "./states.js";
import { Timeline, legend } from "./timeline.js";

const $ = (id) => document.getElementById(id);
/** Seconds without a face after which the page says so. */
const ALONE = 1.5;
/** Milliseconds between two updates of the figures, so that they can be read. */
const FIGURES_PACE = 300;
/** Milliseconds of latency above which the server counts as overloaded. */
const SLOW = 1200;

for (const name of Object.keys(COLOURS)) document.documentElement.style.setProperty(`--${name}`, colour(name));
legend($("legend"));

const stage = new Stage();
const overlay = new Overlay($("overlay"));
const timeline = new Timeline($("timeline"), $("timeline-note"));
const people = new People($("people"), $("nobody"), $("live-status"));
const readings = new Readings(overlay, people);
const recorder = new Recorder();
const settings = new Settings(onSetting);
let line = ["closed"];
let seenAt = 0;
let figuresAt = 0;

const view = {
  get threshold() {
    return settings.threshold;
  },
  show(faces, width, height) {
    readings.show(faces, width, height);
  },
  clear(sentence) {
    readings.clear(sentence);
    timeline.live();
  },
  playing(is) {
    setPaused(!is, "Play");
  },
  open: (file) => openFile(file),
  makeWay() {
    stopLive();
    overlay.mirrored = people.mirrored = false;
    setPaused(true, "Play");
  },
};
const files = new Files(stage, timeline, view);
const live = new Live($("video"), { state: onState, faces: onFaces, problem: onProblem, ended: onEnded });

/* -- the server ------------------------------------------------------------------------------------------------ */

function setStatus(text, tone) {
  if ($("state-text").textContent !== text) $("state-text").textContent = text; // it is read out with every change
  $("state").dataset.tone = tone;
}

async function greet() {
  try {
    const card = await (await request("/v1/model")).json();
    if (setLabels(card.labels)) showOwnLabels();
    setStatus("Ready", "good");
    $("about-model").textContent = `Network: ${[card.name, card.licence].filter(Boolean).join(", ")}.`;
  } catch (error) {
    setStatus(error.title, "warn");
    const text = [401, 403].includes(error.status)
      ? "This server wants its token: open the whole address that mien serve printed, with #token= at its end."
      : sentence(error.message);
    stage.trouble({ title: error.title, text }, () => location.reload());
  }
}

/** For a network that tells others apart than the seven expressions, which style.css and the words know. */
function showOwnLabels() {
  const tones = new CSSStyleSheet();
  tones.replaceSync(LABELS.map((label) => `[data-label="${label}"] { --tone: ${colour(label)}; }`).join("\n"));
  document.adoptedStyleSheets = [tones];
  const longest = Math.max(...LABELS.map((label) => label.length));
  document.documentElement.style.setProperty("--names", `${Math.max(4.6, 0.58 * longest)}em`);
  legend($("legend"));
  $("about-errors").hidden = true;
}

function onState(state, detail) {
  line = [state, detail];
  if (state === "ready") {
    setStatus("Live", "good");
    stage.lost = false;
    if (live.running && stage.troubled) stage.settle();
  } else if (state === "lost" || state === "busy") {
    const trouble = lineTrouble(state, detail);
    setStatus(trouble.title, "warn");
    readings.clear("Waiting for the server.");
    stage.lost = true;
    for (const id of ["fps", "latency"]) $(id).textContent = "–";
    stage.trouble(trouble, () => live.retry(), "Try now");
  } else if (state === "refused") {
    stopLive();
    setStatus("Not connected", "warn");
    stage.trouble({ title: "The server does not take frames", text: sentence(detail) }, startLive);
  } else if (state === "connecting" && !stage.troubled) setStatus("Connecting", "quiet");
  else if (state === "closed") setStatus("Ready", "good");
}

function onProblem(title, text) {
  toast(sentence(text || title));
}

/* -- live ------------------------------------------------------------------------------------------------------ */

async function startLive() {
  cancel();
  live.settings(settings.message);
  stage.setMode("work");
  stage.job("Starting the camera", "The browser may ask you to allow it.");
  timeline.live();
  readings.clear("Nobody yet.");
  setPaused(false);
  try {
    const opened = await live.start(recall("camera", ""));
    if (!opened) return;
    stage.setMode("live");
    onState(...line); // it may have been lost, or found, while the browser asked for the camera
    setMirrored(opened.mirrored);
    seenAt = performance.now() / 1000;
    await fillCameras(opened.device);
  } catch (error) {
    stopLive();
    stage.trouble(cameraTrouble(error), startLive);
  }
}

function stopLive() {
  recorder.stop();
  live.stop();
  stage.setMode("idle");
  readings.clear("Nobody yet.");
}

/** End whatever is going on. */
function cancel() {
  stopLive();
  files.close();
}

function onEnded() {
  stopLive();
  stage.trouble({ title: "The camera went away", text: "It was unplugged, or is no longer allowed for this page." }, startLive);
}

function onFaces(frame) {
  view.show(frame.faces, frame.width, frame.height);
  timeline.add(frame.time, frame.faces);
  recorder.add(frame);
  live.pace.fixed = recorder.recording;
  if (frame.faces.length) seenAt = frame.time;
  stage.hint(frame.time - seenAt > ALONE ? "No face found. Come closer, and into the light." : "");
  const now = performance.now();
  if (now - figuresAt < FIGURES_PACE) return;
  figuresAt = now;
  $("fps").textContent = frame.fps.toFixed(frame.fps < 10 ? 1 : 0);
  $("latency").textContent = `${Math.round(frame.latency)}\u202fms`;
  const inServer = Object.entries(frame.milliseconds ?? {}).map(([step, ms]) => `${step} ${ms.toFixed(0)} ms`);
  $("latency-figure").title = `from camera to screen; in the server ${inServer.join(", ")}`;
  $("dropped").textContent = frame.dropped;
  if (frame.latency > SLOW) setStatus("Overloaded", "warn");
  else setStatus("Live", "good");
}

async function fillCameras(chosen) {
  const options = (await listCameras()).map(({ id, name }) => new Option(name, id, false, id === chosen));
  $("camera").replaceChildren(...(options.length ? options : [new Option("Default camera", "")]));
}

function setMirrored(mirrored) {
  $("mirror").checked = mirrored;
  if (stage.mode !== "live") return;
  stage.mirrored = overlay.mirrored = people.mirrored = mirrored;
  overlay.refresh();
}

function setPaused(paused, onward = "Go on") {
  $("pause-text").textContent = paused ? onward : "Pause";
  $("pause-icon").setAttribute("href", paused ? "#i-play" : "#i-pause");
}

function togglePause() {
  if (stage.mode === "film") files.toggle();
  if (stage.mode !== "live") return;
  live.pause(!live.paused);
  setPaused(live.paused);
  setStatus(live.paused ? "Paused" : "Live", live.paused ? "quiet" : "good");
  seenAt = performance.now() / 1000;
}

/* -- recording and snapshots ----------------------------------------------------------------------------------- */

function toggleRecording() {
  if (stage.mode !== "live") return;
  if (recorder.recording) recorder.stop();
  else recorder.start();
}

async function takeSnapshot() {
  if (!["live", "photo", "film"].includes(stage.mode)) return;
  try {
    const name = `${stamp()}.png`;
    save(await stage.snapshot(overlay), name);
    toast(`Saved ${name}`);
  } catch (error) {
    toast(sentence(`No snapshot: ${error.message}`));
  }
}

/* -- files ----------------------------------------------------------------------------------------------------- */

async function openFile(file, count = 1) {
  if (count > 1) toast("One at a time: this is the first of them.");
  await files.open(file);
}

/* -- controls -------------------------------------------------------------------------------------------------- */

function onSetting(name) {
  live.settings(settings.message);
  if (name === "threshold") files.refresh();
  if (name === "bars") {
    overlay.bars = settings.bars;
    overlay.refresh();
  }
}

$("mirror").addEventListener("change", () => setMirrored($("mirror").checked));
$("camera").addEventListener("change", () => {
  keep("camera", $("camera").value);
  if (stage.mode === "live") startLive();
});

const pick = listenForFiles(openFile);
const clicks = {
  start: startLive, stop: stopLive, close: () => files.close(), pause: togglePause,
  "job-cancel": () => files.cancel() || cancel(),
  sound: () => files.toggleSound(), snapshot: takeSnapshot, record: toggleRecording, open: pick, "welcome-open": pick, "trouble-open": pick,
  theme: toggleTheme, help: () => showDialog("help-dialog"), about: () => showDialog("about-dialog"),
};
for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
listenForKeys({
  c: () => (["live", "work"].includes(stage.mode) ? cancel() : startLive()), " ": togglePause, s: takeSnapshot, r: toggleRecording,
  o: pick, b: () => $("bars").click(), m: () => stage.mode === "live" && $("mirror").click(), t: toggleTheme,
  "?": () => showDialog("help-dialog"),
});
// The canvases take their tones from the page's, which change with the theme.
new MutationObserver(() => timeline.refresh()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.refresh());
navigator.mediaDevices?.addEventListener("devicechange", () => fillCameras($("camera").value));
addEventListener("pagehide", () => files.close());

overlay.bars = settings.bars;
$("mirror").checked = true;
$("privacy").textContent = privacy();
$("about-privacy").textContent = `${privacy()} A film lies on the server until you close it. Tell people what you keep.`;
fillCameras(recall("camera", ""));
greet();
