// The page's worker: it holds the engine, answers requests, and trains between them. Messages in: {id, request}, and
// {run: {until, pace}} or {run: null}. Messages out: {ready}, {id, reply}, {state}, {report}, {error}, {stopped}.
let answer = null;
let run = null;   // {until: the step to stop at or null, pace: the most steps between two looks}
let queued = false, reported = 0;
const channel = new MessageChannel();
channel.port1.onmessage = () => { queued = false; work(); };
const again = () => { if (!queued) { queued = true; channel.port2.postMessage(0); } };

function ask(request) { return JSON.parse(answer(JSON.stringify(request))); }

function stop(error) {
  run = null;
  postMessage(error ? { error } : { stopped: true });
}

function look() {
  const state = ask({ do: "measure" });
  if (state.error) return stop(state.error);
  postMessage({ state });
}

// Steps for about a tenth of a second, or as many as the pace allows; then a look.
function work() {
  if (!run) return;
  const begin = performance.now();
  let left = run.pace, position = run.until === null ? Infinity : run.until - run.step;
  while (left > 0 && position > 0 && performance.now() - begin < 100) {
    const count = Math.max(1, Math.min(left, position, 5));
    const result = ask({ do: "step", count });
    if (result.error) return stop(result.error);
    run.step = result.step;
    left -= count;
    position -= count;
    if (result.diverged) { look(); return stop(); }
  }
  look();
  if (!run) return;
  const done = position <= 0;
  if (done || performance.now() - reported > 2500) {
    const report = ask({ do: "report" });
    if (!report.error) postMessage({ report });
    reported = performance.now();
  }
  if (done) return stop();
  if (run.rest > 0) setTimeout(again, run.rest);
  else again();
}

onmessage = async ({ data }) => {
  try {
    if (data.wasm) {
      const binary = atob(data.wasm.trim());
      const packed = Uint8Array.from(binary, (c) => c.charCodeAt(0));
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
      const wasmBinary = new Uint8Array(await new Response(stream).arrayBuffer());
      const module = await createNorma({ wasmBinary });
      answer = module.cwrap("playground_answer", "string", ["string"]);
      postMessage({ ready: true });
    } else if (data.request) {
      const reply = ask(data.request);
      postMessage({ id: data.id, reply });
    } else if (data.run) {
      run = data.run;
      again();
    } else {
      run = null;
    }
  } catch (error) {
    run = null;
    postMessage({ id: data.id, error: String(error && error.message || error), fatal: true });
  }
};
