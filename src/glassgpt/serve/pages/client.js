// The page's side of HTTP: asking the server that the page came from, and reading a stream of events as they come.
// What goes wrong becomes an Error whose message is the server's own line.

const MOST_LETTERS = 50_000; // of one text, as the server takes them

export async function ask(path, body, signal) {
  return (await send(path, body, signal)).json();
}

// Calls `hear` with each event's JSON; the promise ends with the stream, or when the signal says so.
export async function listen(path, body, hear, signal) {
  const response = await send(path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await next(reader);
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data === "[DONE]") return;
      if (data) hear(JSON.parse(data));
    }
  }
}

// A connection that breaks is a "network error" to a browser, and no more.
async function next(reader) {
  try {
    return await reader.read();
  } catch (problem) {
    if (wasStopped(problem)) throw problem;
    throw new Error("the server broke off in the middle; is `glassgpt serve` still running?");
  }
}

async function send(path, body, signal) {
  const post = body === undefined || body === null ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let response;
  try {
    response = await fetch(path, { ...post, signal });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Error("the server does not answer; is `glassgpt serve` still running?");
  }
  if (!response.ok) throw new Error(await reason(response));
  return response;
}

async function reason(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `the server answered ${response.status} ${response.statusText}`;
  }
}

// One pass of a model over a text, or over the end of one that is too long; a character that it has no token for is
// named by the error.
export async function lookInside(model, text, signal) {
  const letters = [...text];
  const unsent = Math.max(0, letters.length - MOST_LETTERS);
  try {
    const trace = await ask("/glass/inside", { model, text: letters.slice(unsent).join("") }, signal);
    trace.attention = unpacked(trace.attention, trace.tokens.length);
    return Object.assign(trace, { unsent });
  } catch (problem) {
    const [, position] = /never had the character .* \(position (\d+)\)/.exec(problem.message) ?? [];
    throw Object.assign(problem, { unknown: position === undefined ? null : letters[unsent + Number(position)] });
  }
}

export function wasStopped(problem) {
  return problem.name === "AbortError";
}

// The maps of attention as they travel, back as trace.attention[layer][head][row]: row t has t + 1 weights.
function unpacked({ layers, heads, float32 }, count) {
  const bytes = Uint8Array.from(atob(float32), (letter) => letter.charCodeAt(0));
  const weights = new Float32Array(bytes.buffer);
  let begin = 0;
  const row = (at) => weights.subarray(begin, (begin += at + 1));
  const map = () => Array.from({ length: count }, (_, at) => row(at));
  return Array.from({ length: layers }, () => Array.from({ length: heads }, map));
}
