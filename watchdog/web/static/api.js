// The API: reading JSON, problem documents as errors, and the token where one is needed.

const TOKEN = "watchdog-token";

/** What the API answered instead of what was asked for. status is 0 when nothing answered at all. */
export class Problem extends Error {
  constructor(status, detail, errors = []) {
    super([detail, ...errors.map((one) => `${one.parameter}: ${one.detail}`)].join("; "));
    this.status = status;
  }
}

/** Keep a token until the tab closes. */
export function keepToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** Headers for every request. */
export function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** The JSON of a path; throws Problem. */
export async function read(path, { signal } = {}) {
  const answer = await ask(path, { signal, headers: { Accept: "application/json", ...authorization() } });
  try {
    return await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(answer.status, "the answer is no JSON");
  }
}

/** Send JSON to a path; the JSON of the answer. Throws Problem. */
export async function send(path, body) {
  const headers = { Accept: "application/json", "Content-Type": "application/json", ...authorization() };
  const answer = await ask(path, { method: "POST", body: JSON.stringify(body), headers });
  return answer.json();
}

/** Whether a token is kept. */
export function hasToken() {
  return sessionStorage.getItem(TOKEN) !== null;
}

/** The response of a path; throws Problem, or the AbortError when it was called off. */
export async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", redirect: "error", ...options });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, "the service does not answer");
  }
  if (answer.ok) return answer;
  throw await problemOf(answer);
}

async function problemOf(answer) {
  try {
    const found = await answer.json();
    return new Problem(answer.status, found.detail || found.title, found.errors);
  } catch {
    return new Problem(answer.status, `the service answers ${answer.status}`);
  }
}
