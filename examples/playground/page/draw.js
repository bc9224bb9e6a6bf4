// Charts on canvases, by hand. Every function draws one canvas from data, in the colours of the style sheet.
const $ = (id) => document.getElementById(id);

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

// The context of a canvas that is cleared, and as sharp as the screen.
function surface(canvas) {
  const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
  }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, w, h);
  g.font = "11px system-ui, sans-serif";
  return { g, w, h };
}

function niceStep(range, parts) {
  const raw = range / parts, power = 10 ** Math.floor(Math.log10(raw));
  for (const m of [1, 2, 5, 10]) if (m * power >= raw) return m * power;
  return 10 * power;
}
const shortNumber = (x) => Math.abs(x) >= 10000 ? (x / 1000).toFixed(0) + "k" : String(+x.toPrecision(3));

// series: [{points: [[x, y], ...], colour, dash, width, faint}]; y in [0, 1] if `share`, else from 0 to what is seen
// most of the time. What is not finite is a gap.
function lineChart(canvas, series, share) {
  const { g, w, h } = surface(canvas), left = 38, right = 8, top = 6, bottom = 18;
  const ys = [], xs = [];
  for (const s of series) for (const [x, y] of s.points) { xs.push(x); if (Number.isFinite(y)) ys.push(y); }
  const xMax = Math.max(10, ...xs);
  ys.sort((a, b) => a - b);
  const high = share ? 1 : Math.max(0.1, Math.min(ys.at(-1) ?? 1, 1.3 * (ys[Math.floor(ys.length * 0.95)] ?? 1)));
  const X = (x) => left + (x / xMax) * (w - left - right);
  const Y = (y) => h - bottom - Math.min(1.02, y / high) * (h - top - bottom);
  g.strokeStyle = colour("--line");
  g.fillStyle = colour("--quiet");
  g.lineWidth = 1;
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (let y = 0, d = niceStep(high, 4); y <= high * 1.001; y += d) {
    g.beginPath(); g.moveTo(left, Y(y)); g.lineTo(w - right, Y(y)); g.stroke();
    g.fillText(share ? Math.round(100 * y) + "%" : shortNumber(y), left - 5, Y(y));
  }
  g.textAlign = "center";
  g.textBaseline = "top";
  for (let x = 0, d = niceStep(xMax, 5); x <= xMax; x += d) g.fillText(shortNumber(x), Math.min(X(x), w - 14), h - bottom + 4);
  g.save();
  g.beginPath(); g.rect(left, 0, w - left - right + 2, h - bottom + 2); g.clip();
  for (const s of series) {
    g.strokeStyle = s.colour;
    g.globalAlpha = s.faint ? 0.45 : 1;
    g.lineWidth = s.width ?? 2;
    g.setLineDash(s.dash ?? []);
    g.beginPath();
    let pen = false;
    for (const [x, y] of s.points) {
      if (!Number.isFinite(y)) { pen = false; continue; }
      if (pen) g.lineTo(X(x), Y(y)); else g.moveTo(X(x), Y(y));
      pen = true;
    }
    g.stroke();
  }
  g.restore();
}

// shares: of bins between low and high. curve: a function to show above, faint. marks: [[x, text], ...] on the axis.
function histogramChart(canvas, shares, low, high, fill, marks, curve) {
  const { g, w, h } = surface(canvas), bottom = 15, top = 4, max = Math.max(0.02, ...shares), n = shares.length;
  const X = (x) => (x - low) / (high - low) * w;
  g.fillStyle = fill;
  shares.forEach((s, i) => {
    const height = Math.sqrt(s / max) * (h - top - bottom);  // the root, so that small shares can be seen
    if (s > 0) g.fillRect(i * w / n + 0.5, h - bottom - Math.max(1, height), w / n - 1, Math.max(1, height));
  });
  g.strokeStyle = colour("--quiet");
  if (curve) {
    g.beginPath();
    for (let i = 0; i <= w; i += 2) {
      const y = curve(low + i / w * (high - low));
      if (i === 0) g.moveTo(i, h - bottom - y * (h - top - bottom)); else g.lineTo(i, h - bottom - y * (h - top - bottom));
    }
    g.stroke();
  }
  g.strokeStyle = colour("--line");
  g.beginPath(); g.moveTo(0, h - bottom + 0.5); g.lineTo(w, h - bottom + 0.5); g.stroke();
  g.fillStyle = colour("--quiet");
  g.textBaseline = "top";
  for (const [x, text] of marks) {
    g.textAlign = x <= low ? "left" : x >= high ? "right" : "center";
    g.fillText(text, X(x), h - bottom + 3);
  }
}

// For each channel a bar from mean - deviation to mean + deviation, with a tick at the mean: population beside batch.
function statisticsChart(canvas, population, batch) {
  const { g, w, h } = surface(canvas), left = 34, n = batch.mean.length;
  const ends = [];
  const span = (s, i) => [s.mean[i] - Math.sqrt(s.var[i]), s.mean[i] + Math.sqrt(s.var[i])];
  for (let i = 0; i < n; ++i) ends.push(...span(batch, i), ...(population && population.mean.length === n ? span(population, i) : []));
  const known = ends.filter(Number.isFinite);
  let low = Math.min(0, ...known), high = Math.max(0.01, ...known);
  const pad = 0.05 * (high - low);
  low -= pad; high += pad;
  const Y = (y) => h - 4 - (y - low) / (high - low) * (h - 8);
  g.fillStyle = colour("--quiet");
  g.textAlign = "right";
  g.textBaseline = "middle";
  g.strokeStyle = colour("--line");
  for (const y of [0, ...[low + pad, high - pad].filter((v) => Math.abs(v) > 0.2 * (high - low))]) {
    g.beginPath(); g.moveTo(left, Y(y)); g.lineTo(w, Y(y)); g.stroke();
    g.fillText(+y.toPrecision(2), left - 4, Math.min(h - 7, Math.max(7, Y(y))));
  }
  const room = (w - left) / n, bar = Math.max(1.5, Math.min(7, room * 0.32));
  const draw = (s, offset, fill) => {
    g.fillStyle = fill;
    for (let i = 0; i < n; ++i) {
      const x = left + room * (i + 0.5) + offset, [a, b] = span(s, i);
      if (!Number.isFinite(a) || !Number.isFinite(b)) continue;
      g.globalAlpha = 0.45;
      g.fillRect(x, Y(b), bar, Math.max(1, Y(a) - Y(b)));
      g.globalAlpha = 1;
      g.fillRect(x, Y(s.mean[i]) - 1, bar, 2.5);
    }
  };
  if (population && population.mean.length === n) {
    draw(population, -bar - 0.5, colour("--population"));
    draw(batch, 0.5, colour("--batch"));
  } else {
    draw(batch, -bar / 2, colour("--batch"));
  }
}

// gamma and beta by channel, as two bars each from 0.
function affineChart(canvas, gamma, beta) {
  const { g, w, h } = surface(canvas), left = 34, n = gamma.length;
  const all = [...gamma, ...(beta || [])].filter(Number.isFinite);
  const low = Math.min(-0.2, ...all), high = Math.max(1.1, ...all);
  const Y = (y) => h - 4 - (y - low) / (high - low) * (h - 8);
  g.fillStyle = colour("--quiet");
  g.textAlign = "right";
  g.textBaseline = "middle";
  g.strokeStyle = colour("--line");
  for (const y of [0, 1]) {
    g.beginPath(); g.moveTo(left, Y(y)); g.lineTo(w, Y(y)); g.stroke();
    g.fillText(y, left - 4, Y(y));
  }
  const room = (w - left) / n, bar = Math.max(1.5, Math.min(7, room * 0.32));
  [[gamma, -bar - 0.5, "--gamma"], [beta, 0.5, "--beta"]].forEach(([list, offset, name]) => {
    if (!list) return;
    g.fillStyle = colour(name);
    list.forEach((v, i) => {
      if (Number.isFinite(v)) g.fillRect(left + room * (i + 0.5) + offset, Math.min(Y(0), Y(v)), bar, Math.max(1, Math.abs(Y(v) - Y(0))));
    });
  });
}

// Test pictures with what the network says of them; a wrong answer is struck through and in the warning colour.
function drawPictures(canvas, pictures, guesses, shifted) {
  const { g, w, h } = surface(canvas), n = pictures.labels.length, side = Math.min(w / n - 4, h - 20);
  const small = document.createElement("canvas");
  small.width = small.height = 28;
  const s = small.getContext("2d"), image = s.createImageData(28, 28), x = shifted ? pictures.shifted : pictures.x;
  g.textAlign = "center";
  g.textBaseline = "top";
  g.imageSmoothingEnabled = false;
  for (let i = 0; i < n; ++i) {
    for (let p = 0; p < 784; ++p) image.data.set([x[784 * i + p], x[784 * i + p], x[784 * i + p], 255], 4 * p);
    s.putImageData(image, 0, 0);
    const at = i * w / n + (w / n - side) / 2;
    g.drawImage(small, at, 0, side, side);
    if (!guesses) continue;
    const right = guesses[i] === pictures.labels[i];
    g.fillStyle = colour(right ? "--beta" : "--error");
    g.font = "600 14px system-ui, sans-serif";
    g.fillText(guesses[i] + (right ? " ✓" : " ✗"), at + side / 2, side + 3);
  }
}

// The square of the spirals: what the network says of each place, and the test points.
function drawMap(canvas, pictures, map, shifted) {
  const { g, w, h } = surface(canvas), side = Math.min(w, h), at = (w - side) / 2;
  const [a, b] = [colour("--population"), colour("--batch")];
  if (map) {
    const n = Math.round(Math.sqrt(map.length)), cell = side / n;
    map.forEach((share, i) => {
      g.fillStyle = share > 0.5 ? b : a;
      g.globalAlpha = 0.08 + 0.5 * Math.abs(2 * share - 1);
      g.fillRect(at + (i % n) * cell, Math.floor(i / n) * cell, cell + 0.5, cell + 0.5);
    });
    g.globalAlpha = 1;
  }
  const x = shifted ? pictures.shifted : pictures.x;
  pictures.labels.forEach((label, i) => {
    g.fillStyle = label ? b : a;
    g.strokeStyle = colour("--card");
    g.lineWidth = 1;
    g.beginPath();
    if (label) g.arc(at + x[2 * i] * side, x[2 * i + 1] * side, 3.2, 0, 7);
    else g.rect(at + x[2 * i] * side - 2.8, x[2 * i + 1] * side - 2.8, 5.6, 5.6);
    g.fill();
    g.stroke();
  });
}
