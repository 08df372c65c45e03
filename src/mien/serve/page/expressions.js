/** What the network tells apart, and its colours: those of mien/drawing/annotate.py, for pages, films and pictures. */

/** The seven expressions in their one order, unless the server's network learnt others. */
export let LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"];

/** Bottom to top in stacked drawings; neutral on top, so that expressions grow from the base line, as in timelines of
 * the command. Lists and legends have the order of `LABELS`. */
export let STACK = stacked(LABELS);

export const UNCERTAIN = "uncertain";

/** Red, green, blue in 0..255. */
export let COLOURS = {
  angry: [230, 97, 38],
  disgust: [0, 178, 130],
  fear: [214, 132, 180],
  happy: [246, 222, 70],
  neutral: [139, 148, 163],
  sad: [96, 180, 236],
  surprise: [240, 165, 20],
  uncertain: [214, 219, 226],
};

const OURS = LABELS;
const OWN = COLOURS;
/** For labels that are none of ours, in turn, as far as they are free. */
const OTHERS = [
  [96, 180, 236], [240, 165, 20], [0, 178, 130], [214, 132, 180], [246, 222, 70], [230, 97, 38],
  [172, 150, 245], [176, 212, 84], [139, 148, 163], [112, 218, 222], [201, 158, 112], [250, 152, 148],
];

/** Show other labels from now on, in the order of the server's answers; gives whether they are others than ours. */
export function setLabels(names) {
  LABELS = [...OURS.filter((label) => names.includes(label)), ...names.filter((name) => !OURS.includes(name)).sort()];
  STACK = stacked(LABELS);
  const taken = LABELS.filter((label) => OURS.includes(label)).map((label) => String(OWN[label]));
  const free = OTHERS.filter((tone) => !taken.includes(String(tone)));
  const others = LABELS.filter((label) => !OURS.includes(label)).map((label, k) => [label, free[k % free.length]]);
  COLOURS = { ...OWN, ...Object.fromEntries(others) };
  return String(LABELS) !== String(OURS);
}

function stacked(labels) {
  return [...labels.filter((label) => label !== "neutral"), ...labels.filter((label) => label === "neutral")];
}

/** A CSS colour for an expression. */
export function colour(label, opacity = 1) {
  const [red, green, blue] = COLOURS[label] ?? COLOURS[UNCERTAIN];
  return `rgb(${red} ${green} ${blue} / ${opacity})`;
}

/** 0.973 as "97 %", with a narrow space that does not break. */
export function percent(share) {
  return `${Math.round(100 * share)}\u202f%`;
}

/**
 * Seconds as 8 s, m:ss or h:mm:ss, whichever a source of `span` seconds needs, with so many digits behind the point;
 * without a number of them, 8.4 s has one.
 */
export function clock(seconds, span, digits) {
  if (span < 60) return `${bare(seconds, span, digits)}\u202fs`;
  return bare(seconds, span, digits);
}

/** From when to when, both as precise: 3.5 – 4.0 s, 1:03.5 – 1:04.0. */
export function range(from, to, span) {
  return `${bare(from, span, 1)} – ${clock(to, span, 1)}`;
}

function bare(seconds, span, digits) {
  if (span < 60) return seconds.toFixed(digits ?? (Number.isInteger(seconds) ? 0 : 1));
  const unit = 10 ** (digits ?? 0);
  const whole = Math.floor(seconds * unit + 1e-6) / unit;
  const pad = (value) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  const rest = (whole - 60 * minutes).toFixed(digits ?? 0).padStart(digits ? 3 + digits : 2, "0");
  return span < 3600 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${rest}`;
}
