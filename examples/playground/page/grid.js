// Who shares statistics: the grid of samples x positions x channels, in which the elements of a cell have one colour.
// The names above it, the sliders below it, dragging in it and arrow keys all change settings.sharing.
const POSITIONS_SHOWN = 4, CHANNELS_SHOWN = 16, SAMPLES_SHOWN = 32;

const PRESETS = {
  batch: { samples: "whole", positions: "all", channels: "each" },
  ghost: { samples: "chunks", positions: "all", channels: "each" },
  group: { samples: "each", positions: "all", channels: "groups" },
  layer: { samples: "each", positions: "all", channels: "all" },
  instance: { samples: "each", positions: "all", channels: "each" },
  half: { samples: "each", positions: "all", channels: "each", half: true },
  rms: { samples: "each", positions: "each", channels: "all", center: false },
  extended: { samples: "whole", positions: "all", channels: "each", extended: true },
  domains: { samples: "domains", positions: "all", channels: "each" },
  tanh: { tanh: true },
  none: { enabled: false },
};
const PLAIN = { center: true, half: false, extended: false, tanh: false, enabled: true };

// The name of a sharing, or of its nearest kin: a key of the texts.
function nameOf(sharing) {
  if (!sharing.enabled) return "none";
  if (sharing.tanh) return "tanh";
  if (sharing.extended) return "extended";
  if (sharing.half) return "half";
  if (!sharing.center) return "rms";
  if (sharing.samples === "domains") return "domains";
  const channels = sharing.channels;
  if (sharing.samples === "each") {
    if (sharing.positions === "each") return channels === "all" ? "features" : "positional";
    return channels === "all" ? "layer" : channels === "groups" ? "group" : "instance";
  }
  if (channels !== "each" || sharing.positions === "each") return "batchgroup";
  return sharing.samples === "chunks" ? "ghost" : "batch";
}

const powersUpTo = (n) => { const list = []; for (let k = 1; k <= Math.min(n, 256); k *= 2) list.push(k); return list; };
// What each slider can say, from the fewest that share to the most.
const sampleStops = () => ["each", ...powersUpTo(settings.batch / 2).map((k) => "chunks:" + k), "whole"];
const channelStops = () => ["each", ...powersUpTo(settings.width / 2).filter((k) => k > 1 && settings.width % k === 0).reverse().map((g) => "groups:" + g), "all"];

function sampleStop() {
  const s = settings.sharing, stops = sampleStops();
  if (s.samples === "chunks") {
    const i = stops.indexOf("chunks:" + s.chunk);
    return i >= 0 ? i : s.chunk >= settings.batch ? stops.length - 1 : 1 + powersUpTo(s.chunk).length - 1;
  }
  return s.samples === "each" ? 0 : stops.length - 1;
}
function channelStop() {
  const s = settings.sharing, stops = channelStops();
  if (s.channels === "groups") return Math.max(0, stops.indexOf("groups:" + s.groups));
  return s.channels === "each" ? 0 : stops.length - 1;
}
function setSamples(i) {
  const stops = sampleStops(), [samples, k] = stops[Math.max(0, Math.min(stops.length - 1, i))].split(":");
  changeSharing(k ? { ...PLAIN, samples, chunk: +k } : { ...PLAIN, samples });
}
function setChannels(i) {
  const stops = channelStops(), [channels, k] = stops[Math.max(0, Math.min(stops.length - 1, i))].split(":");
  changeSharing(k ? { ...PLAIN, channels, groups: +k } : { ...PLAIN, channels });
}
const setPositions = (positions) => changeSharing({ ...PLAIN, positions });

function changeSharing(change) {
  change = { ...change };
  // Keep what the library can evaluate: a population has no statistics of single positions.
  const next = { ...settings.sharing, ...change };
  if (next.enabled && next.positions === "each" && next.samples !== "each") {
    if (change.samples) change.positions = "all";
    else change.samples = "each";
  }
  if (JSON.stringify({ ...settings.sharing, ...change }) === JSON.stringify(settings.sharing)) return;
  change_settings({ sharing: { ...settings.sharing, ...change } });
}

// What the grid shows: rows (samples), channels and positions, and how many of the network's each stands for.
function gridShape() {
  const samples = Math.min(settings.batch, SAMPLES_SHOWN), channels = Math.min(settings.width, CHANNELS_SHOWN);
  return { samples, channels, positions: settings.network === "cnn" ? POSITIONS_SHOWN : 1, perSample: settings.batch / samples, perChannel: settings.width / channels };
}

// The cell of an element, as three numbers; null where the element is not normalized.
function cellOf(sample, position, channel) {
  const s = settings.sharing, shape = gridShape();
  if (!s.enabled || s.tanh) return null;
  const c = Math.floor(channel * shape.perChannel);
  if (s.half && c >= Math.ceil(settings.width / 2)) return null;
  const n = Math.floor(sample * shape.perSample);
  const set = s.samples === "whole" ? 0 : s.samples === "each" ? n : s.samples === "domains" ? n % 2 : chunkOf(n);
  const group = s.channels === "each" ? c : s.channels === "all" ? 0 : Math.floor(c / (settings.width / s.groups));
  return [set, s.positions === "all" ? 0 : position, group];
}
// The cell whose variance it is divided by, where that is not the one whose mean is subtracted.
function scaleOf(sample, position, channel) {
  const cell = settings.sharing.extended && cellOf(sample, position, channel);
  return cell ? [cell[0], cell[1], 0] : null;
}
// Chunks as the library cuts them: sizes differ by at most one, the longer ones first.
function chunkOf(n) {
  const all = settings.batch, chunks = Math.max(1, Math.ceil(all / settings.sharing.chunk));
  const small = Math.floor(all / chunks), longer = all % chunks, edge = longer * (small + 1);
  return n < edge ? Math.floor(n / (small + 1)) : longer + Math.floor((n - edge) / small);
}

function cellColour(cell, dark) {
  if (!cell) return dark ? [62, 70, 84] : [214, 219, 227];
  const [set, position, group] = cell;
  const hue = (215 + 137.5 * group + 71 * set + 33 * position) % 360;
  const light = (dark ? 54 : 64) + [0, 9, -7][(set + 2 * position) % 3], full = dark ? 52 : 60;
  return hslToRgb(hue, full / 100, light / 100);
}
// Of a variance: darker than the colour of any mean.
const scaleColour = (cell, dark) => cellColour([cell[0] + 5, cell[1], 3], dark).map((v) => (dark ? 0.62 : 0.5) * v);
function hslToRgb(h, s, l) {
  const f = (n) => { const k = (n + h / 30) % 12; return 255 * (l - s * Math.min(l, 1 - l) * Math.max(-1, Math.min(k - 3, 9 - k, 1))); };
  return [f(0), f(8), f(4)];
}

const grid = { left: 30, top: 22, bottom: 20, right: 4, shown: null, target: null, began: 0, marked: null, drag: null };

function drawGrid() {
  const canvas = $("grid"), shape = gridShape(), dark = document.documentElement.dataset.theme === "dark";
  const target = [];
  for (let s = 0; s < shape.samples; ++s)
    for (let c = 0; c < shape.channels; ++c)
      for (let p = 0; p < shape.positions; ++p) target.push(cellColour(cellOf(s, p, c), dark));
  grid.from = grid.shown && grid.shown.length === target.length ? grid.shown : target;
  grid.target = target;
  grid.began = performance.now();
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) grid.from = target;
  paintGrid();
  describeGrid(canvas);
}

function gridGeometry(canvas) {
  const shape = gridShape(), w = canvas.clientWidth - grid.left - grid.right, h = canvas.clientHeight - grid.top - grid.bottom;
  return { ...shape, w, h, rowHeight: h / shape.samples, columnWidth: w / shape.channels };
}

function paintGrid() {
  const canvas = $("grid"), { g, w } = surface(canvas), at = gridGeometry(canvas), dark = document.documentElement.dataset.theme === "dark";
  const t = Math.min(1, (performance.now() - grid.began) / 280);
  grid.shown = grid.target.map((to, i) => to.map((v, k) => grid.from[i][k] + t * (v - grid.from[i][k])));
  const gapX = at.columnWidth > 12 ? 3 : 1, gapY = at.rowHeight > 8 ? 2 : 0.6, inner = (at.columnWidth - gapX) / at.positions;
  const marked = grid.marked && String(cellOf(...grid.marked));
  let i = 0;
  for (let s = 0; s < at.samples; ++s)
    for (let c = 0; c < at.channels; ++c)
      for (let p = 0; p < at.positions; ++p, ++i) {
        const [r, gr, b] = grid.shown[i].map(Math.round);
        g.globalAlpha = marked && String(cellOf(s, p, c)) !== marked ? 0.25 : 1;
        g.fillStyle = `rgb(${r},${gr},${b})`;
        const x = grid.left + c * at.columnWidth + p * inner, y = grid.top + s * at.rowHeight, width = Math.max(1, inner - (inner > 5 ? 0.7 : 0)), height = at.rowHeight - gapY;
        g.fillRect(x, y, width, height);
        const scale = scaleOf(s, p, c);
        if (!scale) continue;
        g.fillStyle = `rgb(${scaleColour(scale, dark).map(Math.round)})`;
        g.fillRect(x, y + 0.6 * height, width, 0.4 * height);
      }
  g.globalAlpha = 1;
  g.fillStyle = colour("--quiet");
  g.textBaseline = "middle";
  g.textAlign = "left";
  g.fillText(T("channelsAxis"), grid.left, 9);
  g.textAlign = "right";
  if (at.positions > 1) g.fillText(T("positionsAxis"), w - grid.right, at.h + grid.top + 11);
  g.save();
  g.translate(11, grid.top + at.h / 2);
  g.rotate(-Math.PI / 2);
  g.textAlign = "center";
  g.fillText(T("samplesAxis"), 0, 0);
  g.restore();
  drawBrackets(g, at);
  if (t < 1) requestAnimationFrame(paintGrid);
}

// How far one cell reaches along each axis.
function drawBrackets(g, at) {
  const first = cellOf(0, 0, 0);
  if (!first) return;
  let samples = 0, channels = 0, positions = 0;
  for (let s = 0; s < at.samples; ++s) if (String(cellOf(s, 0, 0)) === String(first)) samples = s + 1;
  for (let c = 0; c < at.channels; ++c) if (String(cellOf(0, 0, c)) === String(first)) channels = c + 1;
  for (let p = 0; p < at.positions; ++p) if (String(cellOf(0, p, 0)) === String(first)) positions = p + 1;
  g.strokeStyle = colour("--ink");
  g.lineWidth = 2;
  const line = (...points) => { g.beginPath(); points.forEach(([x, y], i) => i ? g.lineTo(x, y) : g.moveTo(x, y)); g.stroke(); };
  const x = grid.left - 4, y = grid.top - 4, end = grid.top + at.h + 3;
  line([x - 3, grid.top + 1], [x, grid.top + 1], [x, grid.top + samples * at.rowHeight - 1.5], [x - 3, grid.top + samples * at.rowHeight - 1.5]);
  line([grid.left + 1, y - 3], [grid.left + 1, y], [grid.left + channels * at.columnWidth - 2, y], [grid.left + channels * at.columnWidth - 2, y - 3]);
  if (at.positions > 1) {
    const width = (at.columnWidth - 2) / at.positions;
    line([grid.left + 1, end + 3], [grid.left + 1, end], [grid.left + positions * width - 1, end], [grid.left + positions * width - 1, end + 3]);
  }
}

function describeGrid(canvas) {
  const s = settings.sharing, name = nameOf(s), places = settings.network === "cnn" ? 196 : 1;
  const samples = s.samples === "whole" ? settings.batch : s.samples === "each" ? 1 : s.samples === "domains" ? settings.batch / 2 : Math.min(s.chunk, settings.batch);
  const positions = s.positions === "all" ? places : 1;
  const channels = s.channels === "each" ? 1 : s.channels === "all" ? settings.width : settings.width / s.groups;
  const count = samples * positions * channels;
  const text = s.enabled && !s.tanh ? T("cellText", { samples: +samples.toFixed(1), positions, channels, count: count.toLocaleString(settingsOfPage.language === "zh" ? "zh-CN" : "en") }) : T("cellNone");
  $("grid-text").textContent = `${T("name_" + name)}: ${text} ${T("about_" + name)}` + (count === 1 && s.enabled && !s.tanh ? " " + T("cellSingle") : "");
  canvas.setAttribute("aria-label", T("gridLabel") + " " + $("grid-text").textContent);
}

function showSharing() {
  for (const button of $("names").children) {
    button.setAttribute("aria-pressed", button.dataset.name === nameOf(settings.sharing));
    if (button.dataset.name === "domains") button.disabled = settings.data !== "domains";
  }
  const [samples, channels] = [sampleStops(), channelStops()], s = settings.sharing;
  $("s-samples").max = samples.length - 1;
  $("s-samples").value = sampleStop();
  $("s-channels").max = channels.length - 1;
  $("s-channels").value = channelStop();
  $("s-positions").value = s.positions === "all" ? 1 : 0;
  const say = (stop) => { const [kind, k] = stop.split(":"); return T("stop_" + kind, { k }); };
  $("o-samples").textContent = s.samples === "domains" ? T("stop_domains") : say(samples[sampleStop()]);
  $("o-channels").textContent = say(channels[channelStop()]);
  $("o-positions").textContent = say(s.positions);
  for (const axis of ["samples", "channels", "positions"]) $("s-" + axis).setAttribute("aria-valuetext", $("o-" + axis).textContent);
  drawGrid();
}

function makeGrid() {
  for (const [name, preset] of Object.entries(PRESETS)) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.name = name;
    button.dataset.t = "chip_" + name;
    button.onclick = () => {
      const change = { ...PLAIN, ...preset };
      if (name === "ghost" && settings.sharing.chunk >= settings.batch) change.chunk = Math.max(1, Math.min(8, settings.batch / 2));
      if (name === "group" && settings.width % settings.sharing.groups) change.groups = 2;
      changeSharing(change);
    };
    $("names").append(button);
  }
  $("s-samples").oninput = (e) => setSamples(+e.target.value);
  $("s-channels").oninput = (e) => setChannels(+e.target.value);
  $("s-positions").oninput = (e) => setPositions(+e.target.value ? "all" : "each");

  // Dragging: in the margins one axis, in the grid samples and channels at once. A click shows a cell alone.
  const canvas = $("grid");
  const place = (event) => {
    const at = gridGeometry(canvas), box = canvas.getBoundingClientRect(), x = event.clientX - box.left - grid.left, y = event.clientY - box.top - grid.top;
    const clamp = (v, n) => Math.max(0, Math.min(n - 1, Math.floor(v)));
    const c = clamp(x / at.columnWidth, at.channels);
    return { s: clamp(y / at.rowHeight, at.samples), c, p: clamp((x - c * at.columnWidth) / at.columnWidth * at.positions, at.positions), x, y, at };
  };
  canvas.onpointerdown = (event) => {
    const begin = place(event);
    const axis = begin.y > begin.at.h ? "positions" : begin.x < 0 ? "samples" : begin.y < 0 ? "channels" : "both";
    grid.drag = { begin, axis, moved: false };
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointermove = (event) => {
    if (!grid.drag) return;
    const { begin, axis } = grid.drag, now = place(event);
    if (Math.hypot(now.x - begin.x, now.y - begin.y) > 6) grid.drag.moved = true;
    if (!grid.drag.moved) return;
    if (axis === "positions") return setPositions(Math.abs(now.x - begin.x) > begin.at.columnWidth / 2 ? "all" : "each");
    const reach = (a, b, per, stops, all) => {  // the stop that is nearest to the share of the axis dragged over
      const n = (Math.abs(b - a) + 1) * per;
      if (n >= 0.85 * all) return stops - 1;
      return Math.min(stops - 2, Math.round(Math.log2(n)));
    };
    grid.marked = null;
    const rows = reach(begin.s, now.s, begin.at.perSample, sampleStops().length, settings.batch);
    if (axis !== "channels") setSamples(rows === 0 ? 0 : rows < sampleStops().length - 1 ? rows + 1 : rows);
    if (axis !== "samples") setChannels(reach(begin.c, now.c, begin.at.perChannel, channelStops().length, settings.width));
  };
  canvas.onpointerup = () => {
    if (grid.drag && !grid.drag.moved) {
      const { s, p, c } = grid.drag.begin, same = grid.marked && String(cellOf(...grid.marked)) === String(cellOf(s, p, c));
      grid.marked = same ? null : [s, p, c];
      paintGrid();
    }
    grid.drag = null;
  };
  canvas.onpointercancel = () => { grid.drag = null; };
  canvas.onkeydown = (event) => {
    const steps = { ArrowDown: () => setSamples(sampleStop() + 1), ArrowUp: () => setSamples(sampleStop() - 1), ArrowRight: () => setChannels(channelStop() + 1), ArrowLeft: () => setChannels(channelStop() - 1), p: () => setPositions(settings.sharing.positions === "all" ? "each" : "all") };
    if (!steps[event.key]) return;
    event.preventDefault();
    steps[event.key]();
  };
}
