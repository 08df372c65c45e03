/** What the page says when something is missing: a title, a sentence, and what may be done about it. */

/** For what the browser said when a camera was asked for. */
export function cameraTrouble(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return {
        title: "The camera is blocked",
        text: "Allow it for this page, with the camera sign in the address bar, then try again. Photos and films need no camera.",
      };
    case "NotFoundError":
    case "OverconstrainedError":
      return { title: "No camera found", text: "Connect one and try again, or open a photo or a film." };
    case "NotReadableError":
    case "AbortError":
      return { title: "The camera is busy", text: "Another program seems to use it. Close that program, then try again." };
    case "InsecureContextError":
      return {
        title: "Cameras need a secure page",
        text: "Browsers give a camera only to pages from https or from localhost. Photos and films work here all the same.",
      };
    default:
      return { title: "The camera did not start", text: sentence(error.message || error.name) };
  }
}

/** What a server says, as a sentence; the name of a file at its beginning stays as it is. */
export function sentence(text) {
  const ended = /[.!?]$/.test(text) ? text : `${text}.`;
  return /^\S+\.\w/.test(ended) ? ended : ended[0].toUpperCase() + ended.slice(1);
}

/** While the connection is down; `seconds` to the next try. */
export function lineTrouble(state, seconds) {
  const next = `Trying again ${seconds < 1.5 ? "now" : `in ${Math.round(seconds)} seconds`}; the camera stays on.`;
  if (state === "busy") return { title: "The server is busy", text: `It has all the viewers it can serve. ${next}` };
  return { title: "Connection lost", text: `The server does not answer. ${next}` };
}

/** Where frames go, in one sentence: this page only ever talks to the server that served it. */
export function privacy() {
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  return local
    ? "Frames stay on this machine: they go only to the server of this page, and are not stored."
    : `Frames go only to ${location.host}, the server of this page, and are not stored.`;
}
