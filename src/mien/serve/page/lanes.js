/** Lanes of the timeline: who gets one, and who shares one with people seen at other times. */

/** Up to so many people of a film have a lane each, as in mien/output/timeline/lanes.py. */
const OWN_LANES = 6;
const FILM_LANES = 8;
const LIVE_LANES = 4;

/**
 * Lanes of a film: lists of stays `{id, start, end}` that do not overlap, each in the order of time.
 * `stays` come with the most important first: where lanes are too few, the first ones get a place.
 */
export function filmLanes(stays) {
  if (stays.length <= OWN_LANES) return [...stays].sort((a, b) => a.id - b.id).map((stay) => [stay]);
  let lanes = firstFit([...stays].sort(byStart), Infinity);
  if (lanes.length > FILM_LANES) lanes = firstFit(stays, FILM_LANES);
  for (const lane of lanes) lane.sort(byStart);
  return lanes.sort((a, b) => byStart(a[0], b[0]));
}

const byStart = (a, b) => a.start - b.start || a.id - b.id;

function firstFit(stays, most) {
  const lanes = [];
  for (const stay of stays) {
    const free = lanes.find((lane) => lane.every((other) => stay.start >= other.end || other.start >= stay.end));
    if (free) free.push(stay);
    else if (lanes.length < most) lanes.push([stay]);
  }
  return lanes;
}

/** Lanes while live: nobody changes lanes while they can be seen. */
export class LiveLanes {
  #lanes = [];

  /** Lists of ids, those who came last at the end. */
  get lanes() {
    return this.#lanes;
  }

  /** Find a lane for somebody new: that of whoever has been gone longest, else one of their own; `goneSince(id)` gives
   * the time, and nothing for somebody in view. Who comes back under a new number thus starts no staircase. */
  place(id, goneSince) {
    if (this.#lanes.some((lane) => lane.includes(id))) return;
    const free = this.#lanes.filter((lane) => goneSince(lane.at(-1)) !== undefined);
    free.sort((a, b) => goneSince(a.at(-1)) - goneSince(b.at(-1)));
    if (free.length) free[0].push(id);
    else if (this.#lanes.length < LIVE_LANES) this.#lanes.push([id]);
  }

  /** Forget somebody who has left the picture for good. */
  remove(id) {
    this.#lanes = this.#lanes.map((lane) => lane.filter((other) => other !== id)).filter((lane) => lane.length);
  }

  clear() {
    this.#lanes = [];
  }
}
