// The guided experiments: each runs its phases one after the other, and puts what the engine says at the end of each into
// a table. What they set is in experiments.json; what they say, in the texts. No figure here is written down beforehand.
let experiment = null;  // the one that is shown: {spec, index, rows, curves, running}

const COLUMNS = {
  loss: (last) => number(last.state.train && last.state.train.loss),
  population: (last) => percent(last.state.population),
  mini_batch: (last) => percent(last.state.mini_batch),
  flatFirst: (last) => ratio(last.state.layers.length ? last.state.layers[0].values.flat : null),
  gradientFirst: (last) => number(last.state.layers.length && last.state.layers[0].gradient ? last.state.layers[0].gradient.rms : null),
  lag: (last) => number(most(last.report, "lag")),
  noise: (last) => number(most(last.report, "noise")),
};
const most = (report, key) => report && report.layers.length ? Math.max(...report.layers.map((l) => l[key] ?? Infinity)) : null;
const number = (x) => Number.isFinite(x) ? (x !== 0 && Math.abs(x) < 0.001 ? x.toExponential(1) : String(+x.toPrecision(3))) : "–";
const ratio = (x) => Number.isFinite(x) ? (100 * x).toFixed(0) + " %" : "–";
const percent = (score) => ratio(score && score.accuracy);
const PHASE_COLOURS = ["--population", "--batch", "--beta", "--gamma", "--ink"];

function showExperiments() {
  $("experiment-list").replaceChildren(...EXPERIMENTS.map((spec, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.id = spec.id;
    button.textContent = `${i + 1}. ${T("x_" + spec.id)}`;
    button.setAttribute("aria-pressed", Boolean(experiment && experiment.spec === spec));
    button.disabled = !engineReady;
    button.onclick = () => runExperiment(spec);
    return button;
  }));
  if (experiment) showExperiment();
}

function columnsOf(spec) { return ["loss", "population", "mini_batch", ...(spec.columns || [])]; }

function showExperiment() {
  const { spec, rows, running, index } = experiment;
  $("experiment").hidden = false;
  $("experiment-name").textContent = T("x_" + spec.id);
  $("experiment-what").textContent = T("x_" + spec.id + "_what");
  $("experiment-look").textContent = T("x_" + spec.id + "_look");
  $("experiment-stop").hidden = !running;
  const cell = (tag, text) => { const e = document.createElement(tag); e.textContent = text; return e; };
  $("results-head").replaceChildren(cell("th", T("phase")), cell("th", T("step")), ...columnsOf(spec).map((c) => cell("th", T("column_" + c))));
  $("results").replaceChildren(...spec.phases.map((phase, i) => {
    const row = document.createElement("tr"), last = rows[i];
    row.className = running && i === index ? "now" : "";
    const name = cell("td", " " + T("x_" + spec.id + "_" + phase.id));
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.color = phase.anew ? colour(PHASE_COLOURS[i % PHASE_COLOURS.length]) : "transparent";
    name.prepend(swatch);
    if (last && last.refused) {
      const refused = cell("td", T("refused"));
      refused.colSpan = 1 + columnsOf(spec).length;
      row.append(name, refused);
      return row;
    }
    row.append(name, cell("td", last ? last.state.step + (last.state.diverged ? " ✗" : "") : i === index && running ? "…" : ""), ...columnsOf(spec).map((c) => cell("td", last ? COLUMNS[c](last) : "")));
    return row;
  }));
}

// The settings of a flat list of changes: those of the sharing stand among the others.
function settingsFrom(flat) {
  const next = structuredClone(DEFAULTS);
  for (const [key, value] of Object.entries(flat)) if (key in next.sharing) next.sharing[key] = value; else next[key] = value;
  return next;
}

async function runExperiment(spec) {
  stopExperiment();
  await halt();
  const mine = experiment = { spec, index: 0, rows: [], curves: [], running: true };
  showExperiments();
  $("experiment").focus({ preventScroll: true });
  let flat = {};
  for (const [i, phase] of spec.phases.entries()) {
    mine.index = i;
    if (phase.anew) flat = { ...spec.base };
    Object.assign(flat, phase.set);
    if (!await change_settings(settingsFrom(flat), { anew: phase.anew, keep: true })) break;
    if (experiment !== mine) return;
    if (phase.do) await request({ do: phase.do });
    if (phase.steps > 0) await train(phase.steps, 10);
    else await refresh();
    if (experiment !== mine || !mine.running) return;
    mine.rows[i] = { state: latest, report: latestReport, refused: failed };
    if (failed) showError("");  // it stands in the table
    if (phase.anew && !failed) mine.curves.push({ colour: PHASE_COLOURS[i % PHASE_COLOURS.length], points: history.slice() });
    showExperiment();
  }
  mine.running = false;
  showExperiments();
  drawCurves();
  $("spoken").textContent = T("experimentDone", { name: T("x_" + spec.id) });
}

function stopExperiment() {
  if (experiment && experiment.running) {
    experiment.running = false;
    halt();
    showExperiments();
  }
}
