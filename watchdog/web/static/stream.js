// Server-sent events over fetch: unlike EventSource it can carry the token, and it tells why it fails.
// A browser has few connections to one host (six, with HTTP/1.1), and a stream holds one. So a page that is left lets go
// at once, a hidden one after a while, and what it missed comes when it is looked at again.

import { ask, authorization } from "/static/api.js";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30000;
const SILENCE_MS = 45000; // three of the service's comments
const HIDDEN_MS = 30000;
const LONGEST_TEXT = 4_000_000; // characters of one event: far more than any incident

/** Watch for ever: `tell(event, data)` for each event, `state(word, problem)` when the connection changes. */
export async function watch(tell, state) {
  let last = null;
  let wait = FIRST_WAIT_MS;
  for (;;) {
    await visible();
    const breaker = new AbortController();
    const release = letGo(breaker);
    let problem = null;
    try {
      const headers = { Accept: "text/event-stream", ...authorization(), ...(last ? { "Last-Event-ID": last } : {}) };
      const answer = await ask("/api/v1/events/stream", { signal: breaker.signal, headers });
      state("live", null);
      wait = FIRST_WAIT_MS;
      for await (const found of events(answer.body, breaker)) {
        last = found.id ?? last;
        tell(found.event, found.data);
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

/** Events of a body; ends when the body ends, throws when it breaks or stays silent. */
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
    if (text.length > LONGEST_TEXT) throw new Error("an event without end");
    for (const block of blocks) {
      const found = parsed(block);
      if (found) yield found;
    }
  }
}

/** One event of its lines; null for a comment. */
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

/** Break when the page is left, or was hidden for long; the answer ends this care. */
function letGo(breaker) {
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

/** Waits until somebody can see the page. */
function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const look = () => document.hidden || (document.removeEventListener("visibilitychange", look), resolve());
    document.addEventListener("visibilitychange", look);
  });
}

/** Waits, or less when the browser says that the network is back. */
function pause(milliseconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    window.addEventListener("online", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
