/** The card of settings: what the visitor sets, kept for the next visit. */

import { percent } from "./expressions.js";
import { keep, recall } from "./preferences.js";

const $ = (id) => document.getElementById(id);
const SWITCHES = ["smoothing", "bars"];

export class Settings {
  /** `changed(name)` is called with "threshold", "smoothing" or "bars". */
  constructor(changed) {
    const slider = $("threshold");
    slider.value = 100 * recall("threshold", 0);
    this.#showThreshold();
    slider.addEventListener("input", () => {
      keep("threshold", this.threshold);
      this.#showThreshold();
      changed("threshold");
    });
    for (const name of SWITCHES) {
      $(name).checked = recall(name, true);
      $(name).addEventListener("change", () => {
        keep(name, $(name).checked);
        changed(name);
      });
    }
  }

  /** Probability below which an expression is called uncertain, 0..1. */
  get threshold() {
    return $("threshold").value / 100;
  }

  /** What the server has to know, by the names of the protocol. */
  get message() {
    return { smoothing: $("smoothing").checked, min_confidence: this.threshold };
  }

  get bars() {
    return $("bars").checked;
  }

  #showThreshold() {
    $("threshold-text").value = this.threshold ? percent(this.threshold) : "off";
    $("threshold").style.setProperty("--share", $("threshold").value / $("threshold").max);
  }
}
