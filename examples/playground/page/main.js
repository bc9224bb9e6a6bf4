// The page: the worker that trains, what is shown of its training, and the page's own switches.
let worker = null, engineReady = false, running = false, finished = null, requests = new Map(), nextId = 1;
let failed = "";  // what ended the training last, if it was an error
let history = [], latest = null, latestReport = null, pictures = null, waiting = false;

function T(key, values = {}) {
  const text = TEXT[settingsOfPage.language][key] ?? TEXT.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

// ---- the worker

function makeWorker() {
  worker = new Worker(URL.createObjectURL(new Blob([$("worker-code").textContent], { type: "text/javascript" })));
  worker.onmessage = ({ data }) => {
    if (data.ready) return begin();
    if (data.fatal) showError(data.error);
    if (data.id) {
      const done = requests.get(data.id);
      requests.delete(data.id);
      if (done) done(data.reply || { error: data.error });
    } else if (data.state) {
      takeState(data.state);
    } else if (data.report) {
      latestReport = data.report;
      showVerdicts();
    } else if (data.error) {
      failed = data.error;
      showError(data.error);
      ended();
    } else if (data.stopped) {
      ended();
    }
  };
  worker.onerror = (event) => showError(event.message || "worker");
  worker.postMessage({ wasm: $("wasm").textContent });
}

function ended() {
  running = false;
  showButtons();
  if (latest && latest.diverged) showError(T("diverged"));
  if (finished) finished();
  finished = null;
}

// Asks the engine; the reply, which may be an error that is then shown.
function request(what, quiet) {
  return new Promise((resolve) => {
    const id = nextId++;
    requests.set(id, (reply) => {
      if (reply.error && !quiet) showError(reply.error);
      resolve(reply);
    });
    worker.postMessage({ id, request: what });
  });
}

function keepRunning(steps, pace) {
  const at = latest ? latest.step : 0, how = PACES[settingsOfPage.pace];
  running = true;
  failed = "";
  worker.postMessage({ run: { until: steps === undefined ? null : at + steps, step: at, pace: pace ?? how.pace, rest: pace ? 0 : how.rest } });
  showButtons();
}

// Trains so many steps, with a look every `pace`; resolves when they are done or something ended them.
function train(steps, pace) {
  return new Promise((resolve) => { finished = resolve; keepRunning(steps, pace); });
}

function halt() {
  worker.postMessage({ run: null });
  running = false;
  showButtons();
  if (finished) finished();
  finished = null;
  return request({ do: "step", count: 0 });  // answered when the worker has come to rest
}

// A look, without a step.
async function refresh() {
  const state = await request({ do: "measure" });
  if (state.error) return;
  const report = await request({ do: "report" }, true);
  latestReport = report.error ? null : report;
  takeState(state);
}

// ---- settings

// Changes some settings; what the engine refuses is undone. `anew`: begins a new training in any case. `keep`: the
// curves of the experiment stay. `foreign`: from a link, and not to be shown before the engine has taken it.
async function change_settings(change, { anew = false, keep = false, foreign = false } = {}) {
  const before = settings, wasRunning = running;
  if (!keep) stopExperiment();
  settings = { ...settings, ...change };
  if (foreign) {
    const next = settings;
    settings = before;
    const reply = await request({ do: "configure", settings: next });
    if (reply.error) return false;
    settings = next;
  }
  showSettings();
  const mine = settings, reply = await request({ do: "configure", settings });
  if (reply.error) {
    if (settings === mine) { settings = before; showSettings(); }
    return false;
  }
  showError("");
  if (reply.kind || anew) {
    const fresh = reply.kind && !anew ? reply : await request({ do: "restart" });
    startOver(fresh);
    if (!keep) experimentCurvesOff();
    await refresh();
    if (wasRunning && !keep) keepRunning();
  } else {
    if (!wasRunning && !keep) await refresh();
    else if (wasRunning && !running && !keep) keepRunning();  // what had ended it may be gone
  }
  writeLink();
  return true;
}

function experimentCurvesOff() {
  if (experiment && !experiment.running) { experiment = null; $("experiment").hidden = true; showExperiments(); }
}

function startOver(fresh) {
  pictures = fresh;
  history = [];
  latest = null;
  latestReport = null;
}

// ---- what is shown

function showError(text) {
  $("error").hidden = !text;
  $("error").textContent = text ? text.replace(/^\[(\w+)\] /, "") : "";
  if (text) $("status").textContent = "";
}

function showButtons() {
  $("start").disabled = $("restart").disabled = !engineReady;
  $("start").textContent = T(running ? "pause" : latest && latest.step > 0 ? "goOn" : "start");
  if (running) $("status").textContent = T("training");
  else if ($("status").textContent === T("training")) $("status").textContent = latest && latest.step > 0 ? T("paused") : "";
}

function takeState(state) {
  latest = state;
  const accuracy = (score) => score && Number.isFinite(score.accuracy) ? score.accuracy : NaN;
  if (state.train || !history.length) {
    history.push({ step: state.step, train: state.train, population: state.population, mini_batch: state.mini_batch });
    if (history.length > 800) history = history.filter((_, i) => i % 2 === 0 || i > 600);
  } else {
    history.push({ step: state.step, train: null, population: state.population, mini_batch: state.mini_batch });
  }
  document.body.dataset.testAccuracy = accuracy(state.population);
  document.body.dataset.step = state.step;
  if (!waiting) {
    waiting = true;
    requestAnimationFrame(() => { waiting = false; showState(); });
  }
}

function showState() {
  if (!latest) return;
  $("n-step").textContent = latest.step;
  $("n-loss").textContent = number(latest.train ? latest.train.loss : NaN);
  $("n-population").textContent = percent(latest.population);
  $("n-batch").textContent = percent(latest.mini_batch);
  drawCurves();
  drawTest();
  showLayers();
}

function drawCurves() {
  const at = (key, what) => history.filter((h) => h[key]).map((h) => [h.step, h[key][what] ?? NaN]);
  const now = (what) => [
    { points: at("train", what), colour: colour("--train"), width: 1.5 },
    { points: at("mini_batch", what), colour: colour("--batch"), dash: [5, 4] },
    { points: at("population", what), colour: colour("--population"), width: 2.5 }];
  const before = (what) => (experiment ? experiment.curves : []).map((c) => ({
    points: c.points.filter((h) => h.population).map((h) => [h.step, h.population[what] ?? NaN]), colour: colour(c.colour), faint: experiment.running, width: 2 }));
  const over = experiment && !experiment.running && experiment.curves.length > 1;  // then only the phases, to compare
  for (const what of ["accuracy", "loss"]) {
    lineChart($("c-" + what), over ? before(what) : [...before(what), ...now(what)], what === "accuracy");
    const last = history.at(-1);
    $("c-" + what).setAttribute("aria-label", last ? T("curveLabel", { what: T(what), train: last.train ? number(last.train[what]) : "–", population: number(last.population[what]), batch: last.mini_batch ? number(last.mini_batch[what]) : "–" }) : T(what));
  }
  for (const key of document.querySelectorAll(".k-train, .k-population, .k-batch")) key.hidden = Boolean(over);
  $("key-before").hidden = !(experiment && experiment.curves.length);
}

function drawTest() {
  if (!pictures || !pictures.kind) return;
  const canvas = $("c-test"), points = pictures.kind === "points";
  canvas.className = points ? "points" : "";
  $("test-caption").textContent = T(points ? "testPoints" : "testPictures");
  if (points) drawMap(canvas, pictures, latest && latest.map, settings.shifted);
  else drawPictures(canvas, pictures, latest && latest.guesses, settings.shifted);
  canvas.setAttribute("aria-label", points ? T("testPoints") : T("testLabel", { labels: pictures.labels.join(" "), guesses: latest && latest.guesses ? latest.guesses.join(" ") : "–" }));
}

const ACTIVATIONS = { relu: (x) => Math.max(0, x) / 6, sigmoid: (x) => 1 / (1 + Math.exp(-x)), tanh: (x) => 0.5 + Math.tanh(x) / 2 };

function layerCard(i) {
  const card = document.createElement("div");
  card.className = "layer";
  card.innerHTML = '<h3><span class="name"></span><span class="type"></span></h3><div class="pair"><figure><figcaption></figcaption><canvas role="img"></canvas></figure><figure><figcaption></figcaption><canvas role="img"></canvas></figure><figure><figcaption></figcaption><canvas role="img"></canvas></figure><figure><figcaption></figcaption><canvas role="img"></canvas></figure></div><p class="verdict"></p>';
  $("layers").append(card);
  return card;
}

function showLayers() {
  const layers = latest.layers || [], box = $("layers");
  while (box.children.length > layers.length) box.lastChild.remove();
  if (!layers.length && !box.textContent) { /* nothing has been trained yet */ }
  layers.forEach((layer, i) => {
    const card = box.children[i] || layerCard(i), [values, gradients, statistics, affine] = card.querySelectorAll("figure");
    card.querySelector(".name").textContent = T("layerName", { i: i + 1 });
    card.querySelector(".type").textContent = layer.type;
    const show = (figure, caption, draw) => {
      const canvas = figure.querySelector("canvas");
      figure.querySelector("figcaption").textContent = caption;
      canvas.setAttribute("aria-label", `${T("layerName", { i: i + 1 })}: ${caption}`);
      draw(canvas);
    };
    show(values, T("values_" + settings.activation, { flat: ratio(layer.values.flat) }), (c) => histogramChart(c, layer.values.shares, -6, 6, colour("--population"), [[-6, "≤−6"], [0, "0"], [6, "≥6"]], ACTIVATIONS[settings.activation]));
    show(gradients, T("gradients", { rms: layer.gradient ? number(layer.gradient.rms) : "–" }), (c) => histogramChart(c, layer.gradient ? layer.gradient.shares : [0], -12, 1, colour("--gamma"), [[-12, "10⁻¹²"], [-8, "10⁻⁸"], [-4, "10⁻⁴"], [1, "10"]]));
    show(statistics, T(layer.population ? "statistics" : "statisticsAlone"), (c) => statisticsChart(c, layer.population, layer.batch));
    show(affine, T(layer.gamma ? (layer.beta ? "gammaBeta" : "gammaOnly") : "gammaNone"), (c) => layer.gamma ? affineChart(c, layer.gamma, layer.beta) : surface(c));
  });
  showVerdicts();
}

function showVerdicts() {
  [...$("layers").children].forEach((card, i) => {
    const verdict = card.querySelector(".verdict"), layer = latestReport && latestReport.layers[i];
    verdict.className = "verdict";
    if (!latest || !latest.layers[i] || !latest.layers[i].population) {
      verdict.textContent = T("verdictNone");
      return;
    }
    if (!layer) { verdict.textContent = T("verdictSoon"); return; }
    const words = ["inconsistent", "too_small", "stale", "not_iid"].filter((key) => layer[key]).map((key) => T("verdict_" + key));
    verdict.classList.add(words.length ? "bad" : "good");
    verdict.textContent = T("verdict", { words: words.length ? words.join(T("semicolon")) : T(layer.fair ? "verdict_fair" : "verdict_good"), kl: number(layer.kl), noise: number(layer.noise), lag: number(layer.lag) });
  });
}

function showSettings() {
  showSharing();
  showControls();
}

function showTexts() {
  document.documentElement.lang = settingsOfPage.language === "zh" ? "zh-Hans" : "en";
  fillChoices();
  for (const e of document.querySelectorAll("[data-t]")) e.textContent = T(e.dataset.t);
  for (const e of document.querySelectorAll("[data-l]")) e.setAttribute("aria-label", T(e.dataset.l));
  $("language").value = settingsOfPage.language;
  $("theme").textContent = T(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  showSettings();
  showExperiments();
  showButtons();
  if (latest) showState();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  showTexts();
}

// ---- the beginning

async function begin() {
  engineReady = true;
  const wanted = fromLink(location.hash.slice(1));
  const first = await request({ do: "restart" });
  startOver(first);
  if (await change_settings(wanted, { anew: true, foreign: true })) $("status").textContent = "";
  if (!latest) await refresh();
  showTexts();
  document.body.dataset.ready = "true";
  if (new URLSearchParams(location.search).has("autorun")) keepRunning();
}

$("start").onclick = () => {
  if (running) { stopExperiment(); return halt(); }
  stopExperiment();
  experimentCurvesOff();
  showError("");
  keepRunning();
};
$("restart").onclick = async () => {
  const wasRunning = running;
  stopExperiment();
  await halt();
  showError("");
  startOver(await request({ do: "restart" }));
  experimentCurvesOff();
  await refresh();
  if (wasRunning) keepRunning();
};
$("experiment-stop").onclick = stopExperiment;
$("theme").onclick = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
$("language").onchange = (e) => { settingsOfPage.language = e.target.value; showTexts(); writeLink(); };
$("copy-link").onclick = async () => {
  const url = writeLink();
  try { await navigator.clipboard.writeText(url); $("status").textContent = T("copied"); } catch { $("status").textContent = T("linkInBar"); }
};
window.onhashchange = () => { change_settings(fromLink(location.hash.slice(1)), { anew: true, foreign: true }).then(showTexts); };
new ResizeObserver(() => { drawGrid(); showState(); }).observe(document.querySelector("main"));
setInterval(() => {
  if (running && latest && !(experiment && experiment.running)) $("spoken").textContent = T("spoken", { step: latest.step, accuracy: percent(latest.population) });
}, 8000);

settingsOfPage.language = navigator.language && navigator.language.startsWith("zh") ? "zh" : "en";
makeGrid();
makeControls();
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
makeWorker();
