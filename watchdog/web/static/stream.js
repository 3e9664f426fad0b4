// Server-sent events over fetch: unlike EventSource it can send the token and reports why it fails.
// A browser has few connections to one host (six, with HTTP/1.1), and a stream holds one. So the page disconnects
// when it is closed, and 30 s after it was hidden; it catches up when it is visible again.

import { ask, authorization } from "/static/api.js";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;
const SILENCE_MS = 45000; // three of the service's comments
const HIDDEN_MS = 30000;
const LONGEST_TEXT = 4_000_000; // characters of one event: far more than any incident

/** Follow the stream and reconnect for as long as the page is open. Calls `emit(event, data)` for each event, and
 *  `state(word, problem)` when the connection changes. */
export async function watch(emit, state) {
  let last = null;
  let wait = FIRST_WAIT_MS;
  for (;;) {
    await visible();
    const breaker = new AbortController();
    const release = disconnectWhenUnseen(breaker);
    let problem = null;
    try {
      const headers = { Accept: "text/event-stream", ...authorization(), ...(last ? { "Last-Event-ID": last } : {}) };
      const answer = await ask("/api/v1/events/stream", { signal: breaker.signal, headers });
      state("live", null);
      wait = FIRST_WAIT_MS;
      for await (const found of events(answer.body, breaker)) {
        last = found.id ?? last;
        emit(found.event, found.data);
      }
    } catch (error) {
      problem = error;
    }
    breaker.abort();
    release();
    state(document.hidden ? "paused" : "waiting", problem);
    await pause(wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

/** The events of a body. Ends when the body ends, throws when it breaks or is silent for 45 s. */
async function* events(body, breaker) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const timer = setTimeout(() => breaker.abort(), SILENCE_MS);
    const { value, done } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    if (text.length > LONGEST_TEXT) throw new Error("an event of the stream is too long");
    for (const block of blocks) {
      const found = parsed(block);
      if (found) yield found;
    }
  }
}

/** The event in a block of lines; null for a comment. */
export function parsed(block) {
  const found = { id: null, event: "message", data: null };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    const name = line.slice(0, colon);
    const value = line.slice(colon + 2);
    if (name === "id") found.id = value;
    if (name === "event") found.event = value;
    if (name === "data") found.data = JSON.parse(value);
  }
  return found.data === null ? null : found;
}

/** Disconnect when the page is closed, or hidden for 30 s. Returns a function that removes the listeners. */
function disconnectWhenUnseen(breaker) {
  const care = new AbortController();
  let timer = 0;
  const hidden = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => breaker.abort(), HIDDEN_MS);
  };
  document.addEventListener("visibilitychange", hidden, { signal: care.signal });
  window.addEventListener("pagehide", () => breaker.abort(), { signal: care.signal });
  return () => (clearTimeout(timer), care.abort());
}

/** Wait until the page is visible. */
function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const look = () => document.hidden || (document.removeEventListener("visibilitychange", look), resolve());
    document.addEventListener("visibilitychange", look);
  });
}

/** Wait, or less when the browser reports that the network is back. */
function pause(milliseconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    window.addEventListener("online", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
