/** The server's REST side: requests with the token, problem details as errors, uploads with progress. */

const KEY = "mien.token";

/** The token of this page's address (`/#token=…`), which is taken out of the address bar; empty without one. */
export const token = takeToken();

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  try {
    if (given) sessionStorage.setItem(KEY, given);
    return given ?? sessionStorage.getItem(KEY) ?? "";
  } catch {
    return given ?? "";
  }
}

const authorization = () => (token ? { Authorization: `Bearer ${token}` } : {});

/** What the server refused, from its RFC 9457 problem details; `status` is 0 where it did not answer at all. */
export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.name = "Problem";
    this.status = status;
    this.title = title;
  }
}

function problem(status, text) {
  try {
    const { title, detail } = JSON.parse(text);
    return new Problem(status, title ?? `The server answered ${status}`, detail);
  } catch {
    return new Problem(status, `The server answered ${status}`, "");
  }
}

const silence = () => new Problem(0, "The server does not answer", "Is mien serve still running?");

/** Fetch from this server; raises Problem. An aborted request raises the browser's AbortError. */
export async function request(path, { headers, ...options } = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...authorization(), ...headers } });
  } catch (error) {
    throw error.name === "AbortError" ? error : silence();
  }
  if (!answer.ok) throw problem(answer.status, await answer.text());
  return answer;
}

/** Post a file as `multipart/form-data`, telling the share that has arrived (0..1); gives the answer's JSON. */
export function upload(path, file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("file", file, file.name);
    const call = new XMLHttpRequest(); // fetch cannot tell how much of a body is sent
    call.open("POST", path);
    for (const [name, value] of Object.entries(authorization())) call.setRequestHeader(name, value);
    call.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    call.onload = () => {
      if (call.status >= 200 && call.status < 300) resolve(JSON.parse(call.responseText));
      else reject(problem(call.status, call.responseText));
    };
    call.onerror = () => reject(silence());
    call.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal?.addEventListener("abort", () => call.abort(), { once: true });
    call.send(form);
  });
}

/** Hand a blob to the visitor as a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** `mien-20260131-174500`, by the visitor's clock. */
export function stamp(now = new Date()) {
  const local = new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString();
  return `mien-${local.slice(0, 10).replaceAll("-", "")}-${local.slice(11, 19).replaceAll(":", "")}`;
}
