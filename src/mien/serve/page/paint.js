/** Faces painted on a canvas: frame, name and seven bars, beside each face and over nobody's head. */

import { LABELS, colour, percent } from "./expressions.js";

const DARK = "rgb(19 21 26)";
const ROW = 1.5;
const PAD = 0.85;
/** Of the panel's font size: width of the bars. */
const BARS = 4.6;
const MIN_FONT = 10.5;
/** How far a head reaches beyond its face's box to the left, up, right and down, in shares of the box. */
const HEAD = [0.2, 0.4, 0.2, 0.2];
/** Of text's size: in a narrower view, several people have their bars in the list alone. */
const NARROW = 520;

/** Where a frame lies when all of it is shown in the middle of an area: scale and left upper corner. */
export function contain(frameWidth, frameHeight, width, height) {
  const scale = Math.min(width / frameWidth, height / frameHeight);
  return { scale, left: (width - frameWidth * scale) / 2, top: (height - frameHeight * scale) / 2 };
}

/** The part of a box inside the frame's picture, which does not fill the area; null where there is none. */
function clipped(box, view) {
  const { left, top, scale } = view;
  const [right, bottom] = [left + view.frameWidth * scale, top + view.frameHeight * scale];
  const x = (value) => Math.min(Math.max(value, left), right);
  const y = (value) => Math.min(Math.max(value, top), bottom);
  const [x1, y1, x2, y2] = [x(box[0]), y(box[1]), x(box[2]), y(box[3])];
  return x1 < x2 && y1 < y2 ? [x1, y1, x2, y2] : null;
}

/** A box of the frame as [x1, y1, x2, y2] of the area, turned over where the view is mirrored. */
export function toView([x1, y1, x2, y2], view) {
  const [left, right] = view.mirrored ? [view.frameWidth - x2, view.frameWidth - x1] : [x1, x2];
  const { scale } = view;
  return [view.left + left * scale, view.top + y1 * scale, view.left + right * scale, view.top + y2 * scale];
}

/**
 * Paint faces `{box, label, confidence, probabilities, name}`; `view` is what `contain` gives and
 *   width, height      of the area to paint in
 *   frameWidth, frameHeight   of the frame in its own pixels
 *   mirrored, bars     whether the view is turned over; whether to paint the seven bars
 *   unit               size of text, 1 on a screen
 *   font               a CSS font family
 *   places             a Map that remembers where each face's bars were, so that they stay there
 */
export function paintFaces(context, faces, view) {
  const marks = faces
    .map((face) => ({ face, box: clipped(toView(face.box, view), view) }))
    .filter((mark) => mark.box)
    .sort((a, b) => area(b.box) - area(a.box));
  const taken = marks.map((mark) => mark.box);
  for (const mark of marks) paintFrame(context, mark, view);
  for (const mark of marks) placeChip(context, mark, view, taken);
  if (view.bars && (marks.length < 2 || view.width >= NARROW * view.unit))
    for (const mark of marks) {
      const heads = marks.filter((other) => other !== mark).map((other) => head(other.box));
      placePanel(context, mark, view, taken, heads);
    }
  for (const mark of marks) if (mark.panel) paintPanel(context, mark, view);
  for (const mark of marks) if (mark.chip) paintChip(context, mark, view);
}

function paintFrame(context, { box, face }, view) {
  const [x1, y1, x2, y2] = box;
  const side = Math.min(x2 - x1, y2 - y1);
  const stroke = Math.min(Math.max(side / 60, 2 * view.unit), 3.5 * view.unit);
  context.lineJoin = "round";
  for (const [tone, width] of [["rgb(19 21 26 / 0.5)", stroke + 2 * view.unit], [colour(face.label), stroke]]) {
    context.beginPath();
    context.roundRect(x1, y1, x2 - x1, y2 - y1, side * 0.1);
    context.strokeStyle = tone;
    context.lineWidth = width;
    context.stroke();
  }
}

function placeChip(context, mark, view, taken) {
  const { box, face } = mark;
  const wanted = (box[3] - box[1]) * 0.11;
  const size = Math.min(Math.max(wanted, 11.5 * view.unit), 17 * view.unit);
  const said = [face.name, face.label].filter(Boolean).join(" ");
  for (const text of [`${said} ${percent(face.confidence)}`, said]) {
    context.font = `600 ${size}px ${view.font}`;
    const width = context.measureText(text).width + size;
    const height = size * 1.6;
    const gap = 5 * view.unit;
    const spots = [
      [box[0], box[1] - gap - height],
      [box[2] - width, box[1] - gap - height],
      [box[0], box[3] + gap],
      [box[2] - width, box[3] + gap],
    ];
    const free = freeSpot(spots, width, height, view, taken);
    mark.chip = free?.rect ?? inside([box[0] + gap, box[3] - gap - height], width, height, view);
    mark.text = text;
    mark.size = size;
    if (free) break;
  }
  if (mark.chip) taken.push(mark.chip);
}

function paintChip(context, { chip, face, text, size }, view) {
  const [x1, y1, x2, y2] = chip;
  context.beginPath();
  context.roundRect(x1, y1, x2 - x1, y2 - y1, size * 0.45);
  context.fillStyle = colour(face.label);
  context.fill();
  context.fillStyle = DARK;
  context.font = `600 ${size}px ${view.font}`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(text, x1 + size / 2, (y1 + y2) / 2 + size * 0.05);
}

function panelSize(context, font, view) {
  context.font = `600 ${font}px ${view.font}`; // the best one is bold
  const names = Math.max(...LABELS.map((label) => context.measureText(label).width));
  const numbers = context.measureText(percent(1)).width;
  const width = names + numbers + font * (BARS + 2 * PAD + 1.4);
  return { names, width, height: font * (LABELS.length * ROW + 2 * PAD) };
}

/** The box with the hair, ears and chin around it. */
function head([x1, y1, x2, y2]) {
  const [wide, high] = [x2 - x1, y2 - y1];
  return [x1 - HEAD[0] * wide, y1 - HEAD[1] * high, x2 + HEAD[2] * wide, y2 + HEAD[3] * high];
}

function placePanel(context, mark, view, taken, heads) {
  const { box, face } = mark;
  const smallest = MIN_FONT * view.unit;
  const side = box[3] - box[1];
  let font = Math.min(side / (LABELS.length * ROW + 2 * PAD), 13 * view.unit);
  if (font < smallest) {
    if (panelSize(context, smallest, view).height > 1.7 * side) return;
    font = smallest;
  }
  for (; font >= smallest; font *= 0.88) {
    const { names, width, height } = panelSize(context, font, view);
    const gap = font * 0.7;
    const [x1, y1, x2, y2] = box;
    const spots = [
      [x2 + gap, y1],
      [x1 - gap - width, y1],
      [x2 + gap, y2 - height],
      [x1 - gap - width, y2 - height],
      [x1, y2 + gap],
      [x1, y1 - gap - height],
      [x1, mark.chip ? Math.max(y2, mark.chip[3]) + gap : y2 + gap],
      [x1, mark.chip ? Math.min(y1, mark.chip[1]) - gap - height : y1 - gap - height],
    ];
    const free = freeSpot(spots, width, height, view, [...taken, ...heads], view.places?.get(face.key));
    if (!free) continue;
    view.places?.set(face.key, free.index);
    Object.assign(mark, { panel: free.rect, panelFont: font, names });
    taken.push(free.rect);
    return;
  }
}

function paintPanel(context, { face, panel, panelFont: font, names }, view) {
  const [x1, y1, x2, y2] = panel;
  context.beginPath();
  context.roundRect(x1, y1, x2 - x1, y2 - y1, font * 0.7);
  context.fillStyle = "rgb(19 21 26 / 0.82)";
  context.fill();
  const left = x1 + font * PAD;
  const right = x2 - font * PAD;
  const start = left + names + font * 0.7;
  const best = Math.max(...LABELS.map((label) => face.probabilities[label]));
  context.textBaseline = "middle";
  for (const [k, label] of LABELS.entries()) {
    const share = face.probabilities[label];
    const y = y1 + font * (PAD + ROW * (k + 0.5));
    bar(context, start, y, font * BARS, font * 0.56, "rgb(255 255 255 / 0.16)");
    if (share * font * BARS >= 0.5) bar(context, start, y, share * font * BARS, font * 0.56, colour(label));
    context.font = `${share === best ? 600 : 400} ${font}px ${view.font}`;
    context.fillStyle = share === best ? "#fff" : "rgb(206 210 217)";
    context.textAlign = "left";
    context.fillText(label, left, y + font * 0.05);
    context.textAlign = "right";
    context.fillText(percent(share), right, y + font * 0.05);
  }
}

function bar(context, x, y, width, height, tone) {
  context.beginPath();
  context.roundRect(x, y - height / 2, width, height, Math.min(height * 0.35, width / 2));
  context.fillStyle = tone;
  context.fill();
}

/** The first place, the one of last time before all others, that is free once it is moved into the area. */
function freeSpot(spots, width, height, view, taken, lastTime) {
  const order = [...spots.keys()];
  if (lastTime !== undefined) order.unshift(lastTime);
  for (const index of order) {
    const rect = inside(spots[index], width, height, view);
    if (rect && !taken.some((other) => overlap(rect, other))) return { rect, index };
  }
  return null;
}

function inside([x, y], width, height, view) {
  const margin = 4 * view.unit;
  if (width + 2 * margin > view.width || height + 2 * margin > view.height) return null;
  const left = Math.min(Math.max(x, margin), view.width - margin - width);
  const top = Math.min(Math.max(y, margin), view.height - margin - height);
  return [left, top, left + width, top + height];
}

const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
