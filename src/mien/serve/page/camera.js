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
/** Milliseconds, and how many answers in a row have to be slower or quicker; a change costs everybody a new number. */
const SLOW = 400;
const SLOW_ANSWERS = 15;
const QUICK = 120;
const QUICK_ANSWERS = 150;

/** Chooses the size of frames by how long answers take: smaller on a slow line or server, larger again when quick. */
export class Pace {
  #level = SIZES.length - 1;
  #slow = 0;
  #quick = 0;
  /** While true the size stays: a recording should have one. */
  fixed = false;

  get size() {
    return SIZES[this.#level];
  }

  /** Take in one answer's time in milliseconds. */
  note(milliseconds) {
    this.#slow = milliseconds > SLOW ? this.#slow + 1 : 0;
    this.#quick = milliseconds < QUICK ? this.#quick + 1 : 0;
    if (this.fixed) return;
    if (this.#slow >= SLOW_ANSWERS) this.#change(-1);
    else if (this.#quick >= QUICK_ANSWERS) this.#change(1);
  }

  #change(by) {
    this.#level = Math.min(Math.max(this.#level + by, 0), SIZES.length - 1);
    this.#slow = this.#quick = 0;
  }
}
