// The settings: their defaults, the form, and the link that holds them.
const DEFAULTS = {
  data: "digits", network: "cnn", depth: 3, width: 16, activation: "relu", input: "unit", order: "shuffled", seed: 1,
  sharing: { samples: "whole", chunk: 8, positions: "all", channels: "each", groups: 4, center: true, half: false, extended: false, tanh: false, enabled: true },
  batch: 32, rate: 0.05, momentum: 0.9, ema: 0.1, affine: true, frozen: false, shifted: false,
};
const ANEW = ["data", "network", "depth", "width", "activation", "input", "order", "seed"];
const CHOICES = {
  data: ["digits", "spirals", "domains"], network: ["cnn", "mlp"], activation: ["relu", "sigmoid", "tanh"],
  input: ["unit", "large", "standard"], order: ["shuffled", "sorted"], depth: [1, 2, 3, 4, 5, 6, 7, 8],
  width: [4, 8, 16, 32, 64], batch: [1, 2, 4, 8, 16, 32, 64, 128, 256], momentum: [0, 0.5, 0.9],
  ema: [0.001, 0.01, 0.03, 0.1, 0.3, 1], pace: ["slow", "usual", "fast"],
};
const PACES = { slow: { pace: 1, rest: 250 }, usual: { pace: 10, rest: 0 }, fast: { pace: 1000, rest: 0 } };
const NUMERIC = new Set(["depth", "width", "batch", "momentum", "ema"]);

let settings = structuredClone(DEFAULTS);
const settingsOfPage = { language: "en", pace: "usual", theme: null };

// ---- the link: each setting that differs from its default, by its name

function toLink() {
  const parts = new URLSearchParams();
  const put = (key, value, usual) => { if (value !== usual) parts.set(key, value); };
  for (const [key, usual] of Object.entries(DEFAULTS)) {
    if (key !== "sharing") put(key, settings[key], usual);
    else for (const [k, u] of Object.entries(usual)) put(k, settings.sharing[k], u);
  }
  put("lang", settingsOfPage.language, "en");
  put("pace", settingsOfPage.pace, "usual");
  return parts.toString();
}

// Values as they stand there: whether they are any good, the engine says.
function fromLink(text) {
  const parts = new URLSearchParams(text), next = structuredClone(DEFAULTS);
  const language = parts.get("lang"), pace = parts.get("pace");
  if (language in TEXT) settingsOfPage.language = language;
  if (CHOICES.pace.includes(pace)) settingsOfPage.pace = pace;
  for (const [key, value] of parts) {
    if (key === "lang" || key === "pace") continue;
    const inside = Object.hasOwn(next.sharing, key), usual = inside ? next.sharing[key] : next[key];
    let typed = value;
    if (typeof usual === "number") typed = value.trim() === "" || !Number.isFinite(Number(value)) ? value : Number(value);
    if (typeof usual === "boolean") typed = value === "true" ? true : value === "false" ? false : value;
    if (inside) next.sharing[key] = typed;
    else Object.defineProperty(next, key, { value: typed, enumerable: true, writable: true, configurable: true });
  }
  return next;
}

function writeLink() {
  const text = toLink(), url = location.href.split("#")[0] + (text ? "#" + text : "");
  try { window.history.replaceState(null, "", url); } catch { /* a page without an address of its own */ }
  return url;
}

// ---- the form

function fillChoices() {
  for (const [key, list] of Object.entries(CHOICES)) {
    $(key).replaceChildren(...list.map((value) => {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = NUMERIC.has(key) ? value : T(`${key}_${value}`);
      return option;
    }));
  }
}

function showControls() {
  const put = (key, value) => {  // a value that a link brought, and the form does not offer, is shown too
    const select = $(key);
    if (![...select.options].some((o) => o.value === String(value))) select.add(new Option(value, value));
    select.value = String(value);
  };
  for (const key of Object.keys(CHOICES)) put(key, key === "pace" ? settingsOfPage.pace : settings[key]);
  const chunks = powersUpTo(settings.batch);
  $("chunk").replaceChildren(...chunks.map((k) => new Option(k === settings.batch ? T("wholeBatch", { k }) : k, k)));
  const s = settings.sharing;
  $("chunk").disabled = !s.enabled || s.samples === "each" || s.samples === "domains";
  put("chunk", s.samples === "chunks" ? Math.min(s.chunk, settings.batch) : s.samples === "each" ? 1 : settings.batch);
  $("rate").value = Math.log10(settings.rate);
  $("o-rate").textContent = +settings.rate.toPrecision(2);
  $("rate").setAttribute("aria-valuetext", $("o-rate").textContent);
  $("seed").value = settings.seed;
  for (const key of ["affine", "frozen", "shifted"]) $(key).checked = settings[key];
  $("network").options[0].disabled = settings.data === "spirals";
}

function makeControls() {
  const changed = (key, value) => {
    const change = { [key]: value };
    if (key === "data" && value === "spirals") change.network = "mlp";
    if (key === "data" && value !== "domains" && settings.sharing.samples === "domains") change.sharing = { ...settings.sharing, samples: "whole" };
    if (key === "width" && settings.sharing.channels === "groups" && value % settings.sharing.groups) change.sharing = { ...settings.sharing, groups: 2 };
    change_settings(change);
  };
  for (const key of Object.keys(CHOICES)) {
    $(key).onchange = (e) => {
      if (key === "pace") { settingsOfPage.pace = e.target.value; writeLink(); if (running) keepRunning(); return; }
      changed(key, NUMERIC.has(key) ? Number(e.target.value) : e.target.value);
    };
  }
  $("chunk").onchange = (e) => changeSharing(+e.target.value >= settings.batch ? { samples: "whole" } : { samples: "chunks", chunk: +e.target.value });
  $("rate").oninput = (e) => changed("rate", +(10 ** e.target.value).toPrecision(2));
  $("seed").onchange = (e) => changed("seed", e.target.value === "" ? 0 : Number(e.target.value));
  for (const key of ["affine", "frozen", "shifted"]) $(key).onchange = (e) => changed(key, e.target.checked);
  for (const action of ["precise", "adapt"]) {
    $(action).onclick = async () => {
      const reply = await request({ do: action });
      if (reply.error) return;
      $("status").textContent = T("estimated", { layers: reply.layers });
      await refresh();
    };
  }
}
