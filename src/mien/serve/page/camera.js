/** The camera: which there are, opening one, and what it shows as a small JPEG. */

const QUALITY = 0.85;

/** All cameras as `{id, name}`; their names are known only after the visitor has allowed one. */
export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices
    .filter((device) => device.kind === "videoinput" && device.deviceId)
    .map((device, i) => ({ id: device.deviceId, name: device.label || `Camera ${i + 1}` }));
}

/** Open a camera (empty: the front or only one); raises the browser's DOMException. */
export async function openCamera(id) {
  if (!navigator.mediaDevices) throw new DOMException("cameras need https or localhost", "InsecureContextError");
  const size = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  const open = (which) => navigator.mediaDevices.getUserMedia({ audio: false, video: { ...size, ...which } });
  if (!id) return open({ facingMode: "user" });
  try {
    return await open({ deviceId: { exact: id } });
  } catch (error) {
    if (error.name !== "OverconstrainedError") throw error;
    return open({ facingMode: "user" }); // the one chosen last time is gone
  }
}

/** Whether people expect to see themselves as in a mirror: always, unless the camera looks away from them. */
export function looksAtVisitor(stream) {
  return stream.getVideoTracks()[0]?.getSettings().facingMode !== "environment";
}

/** Makes JPEGs of what a video shows, at most `longest` pixels wide or high. */
export class Grabber {
  #canvas = document.createElement("canvas");
  #context = this.#canvas.getContext("2d", { alpha: false });

  async grab(video, longest) {
    const scale = Math.min(1, longest / Math.max(video.videoWidth, video.videoHeight));
    const width = Math.round(video.videoWidth * scale);
    const height = Math.round(video.videoHeight * scale);
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    this.#context.drawImage(video, 0, 0, width, height);
    return new Promise((resolve, reject) => {
      const done = (blob) => (blob ? resolve(blob) : reject(new Error("this browser cannot encode JPEG")));
      this.#canvas.toBlob(done, "image/jpeg", QUALITY);
    });
  }
}

const SIZES = [320, 480, 640];
const ENOUGH = 20;
const SLOW = 400;
const QUICK = 120;

/** Chooses the size of frames by how long answers take: smaller on a slow line or server, larger again when quick. */
export class Pace {
  #level = SIZES.length - 1;
  #recent = [];
  /** While true the size stays: a recording should have one. */
  fixed = false;

  get size() {
    return SIZES[this.#level];
  }

  /** Take in one answer's time in milliseconds. */
  note(milliseconds) {
    this.#recent.push(milliseconds);
    if (this.#recent.length < ENOUGH) return;
    const median = this.#recent.sort((a, b) => a - b)[ENOUGH / 2];
    this.#recent = [];
    if (this.fixed) return;
    if (median > SLOW) this.#level = Math.max(0, this.#level - 1);
    else if (median < QUICK) this.#level = Math.min(SIZES.length - 1, this.#level + 1);
  }
}
