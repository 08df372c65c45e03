/** The seven expressions in their one order, and their colours: those of mien/draw.py, for pages, films and pictures. */

export const LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"];

/** Bottom to top in stacked drawings; neutral on top, so that expressions grow from the base line. */
export const STACK = [...LABELS.filter((label) => label !== "neutral"), "neutral"];

export const UNCERTAIN = "uncertain";

/** Red, green, blue in 0..255. */
export const COLOURS = {
  angry: [230, 97, 38],
  disgust: [0, 178, 130],
  fear: [214, 132, 180],
  happy: [246, 222, 70],
  neutral: [214, 219, 226],
  sad: [96, 180, 236],
  surprise: [240, 165, 20],
  uncertain: [160, 166, 175],
};

/** A CSS colour for an expression. */
export function colour(label, opacity = 1) {
  const [red, green, blue] = COLOURS[label] ?? COLOURS[UNCERTAIN];
  return `rgb(${red} ${green} ${blue} / ${opacity})`;
}

/** 0.973 as "97 %", with a narrow space that does not break. */
export function percent(share) {
  return `${Math.round(100 * share)}\u202f%`;
}

/** Seconds as 8.4 s, m:ss or h:mm:ss, whichever a source of `span` seconds needs. */
export function clock(seconds, span) {
  if (span < 60) return `${seconds.toFixed(Number.isInteger(seconds) ? 0 : 1)}\u202fs`;
  const whole = Math.floor(seconds);
  const pad = (value) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return span < 3600
    ? `${minutes}:${pad(whole % 60)}`
    : `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(whole % 60)}`;
}
