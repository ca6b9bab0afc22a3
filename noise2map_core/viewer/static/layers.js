"use strict";
// Layers of the map, each with its entry in the panel.

const SHADES = [
  "#000003", "#060519", "#140d35", "#251155", "#3b0f6f", "#50127b", "#63197f", "#772181",
  "#8c2980", "#a12f7e", "#b63679", "#ca3e72", "#dd4968", "#ed595f", "#f6705b", "#fb8861",
  "#fd9f6c", "#feb77d", "#fdcf92", "#fce6a8", "#fbfcbf",
]; // magma, as in the report
const OUTLINE = "#ff2bd6";
const CHOSEN = new ol.Style({ stroke: new ol.Stroke({ color: "#ffd400", width: 4 }), zIndex: 9 });
const LEAST_PX = 2; // an outline that is smaller says nothing that the raster does not
const FEW_BYTES = 1_000_000; // of tiles in all: so many polygons are drawn from however far
const COARSEST = 2; // pixels of the map in one of the screen, up to which more of them are drawn

// A layer as of `layersIn`, on the map of `item`; `remembered` is what the user set of the one before.
function addLayer(layer, item, remembered) {
  const shown = remembered?.shown ?? !(layer.kind === "amount" || layer.quiet);
  const state = { ...layer, shown, opacity: remembered?.opacity ?? 1, least: remembered?.least };
  const builders = { photo: photoLayer, classes: classLayer, reason: classLayer,
    amount: amountLayer, polygons: polygonLayer };
  state.entry = make(find("layers"), "div", undefined, { class: "layer", id: "entry-" + layer.key });
  addSwitch(state);
  try {
    state.ol = builders[layer.kind](state, item);
  } catch (error) {
    fail(state, error);
    return state;
  }
  state.ol.setVisible(shown);
  state.ol.setOpacity(state.opacity);
  addOpacity(state);
  return state;
}

function fail(state, error) {
  complain(state, `${state.name} cannot be shown: ${reasonOf(error)}.`);
}

function failInPart(state) {
  complain(state, `A part of ${state.name} cannot be read, and is left out.`);
}

function complain(state, text) {
  state.broken = true;
  state.entry.classList.add("broken");
  if (state.entry.querySelector(".problem")) return;
  make(state.entry, "p", text, { class: "problem", role: "status" });
}

function reasonOf(error) {
  const text = String(error?.errors?.[0]?.message ?? error?.message ?? error ?? "it cannot be read");
  // Two libraries' words for one thing.
  if (/full file|content-length exceeding|Byte Serving/i.test(text)) {
    return "its server sends no parts of files (range requests)";
  }
  return text.replace(/\.$/, "");
}

// --- panel ---------------------------------------------------------------------------------------

function addSwitch(state) {
  const label = make(state.entry, "label");
  const box = make(label, "input", undefined, { type: "checkbox", id: "show-" + state.key });
  box.checked = state.shown;
  make(label, "span", state.title);
  box.addEventListener("change", () => {
    state.shown = box.checked;
    state.ol?.setVisible(state.shown);
    document.dispatchEvent(new Event("layers"));
  });
}

function addSlider(state, name, text, range, value, format, changed) {
  const row = make(state.entry, "div", undefined, { class: "slider" });
  const id = `${name}-${state.key}`;
  make(row, "label", text, { for: id });
  const input = make(row, "input", undefined, { type: "range", id, ...range });
  input.value = value;
  input.setAttribute("aria-label", `${text}: ${state.title}`);
  const output = make(row, "output", format(value), { for: id });
  input.addEventListener("input", () => {
    const number = Number(input.value);
    output.textContent = format(number);
    input.setAttribute("aria-valuetext", format(number));
    changed(number);
  });
}

function addOpacity(state) {
  const range = { min: 0, max: 100, step: 5 };
  addSlider(state, "opacity", "Opacity", range, 100 * state.opacity, (n) => `${n} %`, (n) => {
    state.opacity = n / 100;
    state.ol.setOpacity(state.opacity);
  });
}

function swatch(parent, color) {
  const box = make(parent, "span", undefined, { class: "swatch", "aria-hidden": "true" });
  box.style.background = color ?? "transparent";
}

// --- rasters -------------------------------------------------------------------------------------

// A layer whose file is opened when it is first shown. `paint` as of `cogSource`.
function rasterLayer(state, item, paint) {
  const name = state.kind === "photo" ? "photo" : "raster";
  const layer = new ol.TileLayer({
    className: `${name} ${name}-${state.key}`, extent: item.extent ?? undefined, visible: false,
  });
  layer.on("change:visible", () => {
    if (layer.getVisible()) state.opened ??= openRaster(state, item, layer, paint);
  });
  return layer;
}

async function openRaster(state, item, layer, paint) {
  try {
    state.cog = await openCog(state.href);
    const source = cogSource(state.cog, item.projection ?? "EPSG:3857", paint);
    source.on("tileloaderror", () => failInPart(state));
    layer.setSource(source);
  } catch (error) {
    fail(state, error);
  }
}

// Have what is there painted in other colours.
function repaint(state) {
  state.painting = (state.painting ?? 0) + 1;
  state.ol.getSource()?.setKey(String(state.painting));
}

const photoLayer = (state, item) => rasterLayer(state, item, null);

function classLayer(state, item) {
  const list = make(state.entry, "fieldset", undefined, { class: "classes" });
  make(list, "legend", "Classes");
  for (const one of state.classes) {
    const label = make(list, "label");
    const box = make(label, "input", undefined, { type: "checkbox" });
    box.checked = one.shown;
    swatch(label, one.color);
    make(label, "span", one.name);
    box.addEventListener("change", () => {
      one.shown = box.checked;
      repaint(state);
    });
  }
  return rasterLayer(state, item, (numbers, words) => {
    const colors = new Uint32Array(256);
    for (const { value, color, shown } of state.classes) if (shown) colors[value] = wordOf(color);
    for (let at = 0; at < words.length; at++) words[at] = colors[numbers[at]];
  });
}

const SHADE_WORDS = SHADES.map(wordOf);

function amountLayer(state, item) {
  const { scale, range: [low, high], nodata, unit } = state;
  state.least ??= low;
  const format = (amount) => amountText(amount, unit);
  addRamp(state, format);
  const limits = { min: low, max: high, step: (high - low) / 100 };
  addSlider(state, "least", "At least", limits, state.least, format, (n) => {
    state.least = n;
    repaint(state);
  });
  const last = SHADES.length - 1;
  return rasterLayer(state, item, (numbers, words) => {
    // A little less: 0.3 of a slider is 2,999.9999 of what is stored.
    const least = state.least / scale - 1e-6;
    for (let at = 0; at < words.length; at++) {
      const stored = numbers[at];
      if (stored === nodata || stored < least) continue;
      const share = (stored * scale - low) / (high - low);
      words[at] = SHADE_WORDS[Math.max(0, Math.min(last, Math.round(share * last)))];
    }
  });
}

function addRamp(state, format) {
  const ramp = make(state.entry, "div", undefined, { class: "ramp", "aria-hidden": "true" });
  for (const color of SHADES) make(ramp, "i").style.background = color;
  const ends = make(state.entry, "div", undefined, { class: "ends" });
  for (const end of state.range) make(ends, "span", format(end));
}

// --- polygons ------------------------------------------------------------------------------------

function polygonLayer(state, item) {
  if (!item.projection || !canTransform(item.projection)) {
    throw new Error(`its tiles cannot be brought to ${item.projection?.getCode() ?? "this map"}`);
  }
  const file = chosenFile(state.href);
  const source = new ol.PMTilesVectorSource({ url: file ? new ol.FileSource(file) : state.href });
  state.opened = source.pmtiles_.getHeader().then(({ tileDataLength }) => {
    if (tileDataLength > FEW_BYTES && item.pixel) keepNear(state, COARSEST * item.pixel);
    else state.ol.setMaxResolution(Infinity);
  }, (error) => fail(state, error));
  source.on("tileloaderror", () => failInPart(state));
  const layer = new ol.VectorTileLayer({
    source, declutter: false, renderBuffer: 16, className: "polygons polygons-" + state.key,
    style: (feature, resolution) => polygonStyle(state, feature, resolution),
    maxResolution: COARSEST * (item.pixel ?? Infinity), // until the file has said how much it holds
  });
  return layer;
}

// Seen from afar, outlines of very many polygons hide the map, and their tiles leave out the smallest.
function keepNear(state, resolution) {
  state.farthest = resolution;
  state.far = make(state.entry, "p", "There are too many to draw from this far: zoom in.", {
    class: "faint", role: "status",
  });
  document.dispatchEvent(new Event("layers"));
}

function canTransform(projection) {
  try {
    return ol.transform([0, 0], "EPSG:3857", projection).every(Number.isFinite);
  } catch {
    return false;
  }
}

const styles = new Map(); // by colour

function polygonStyle(state, feature, resolution) {
  if (state.filter && !state.filter(feature)) return undefined;
  const [left, bottom, right, top] = feature.getExtent();
  if (Math.max(right - left, top - bottom) < LEAST_PX * resolution) return undefined;
  if (state.chosen !== undefined && idOf(feature) === state.chosen) return CHOSEN;
  const color = state.colorOf(feature) ?? OUTLINE;
  if (!styles.has(color)) {
    // What is nearly clear inside makes the whole polygon answer to a click.
    const fill = new ol.Fill({ color: "rgba(255,255,255,0.01)" });
    styles.set(color, new ol.Style({ stroke: new ol.Stroke({ color, width: 1.4 }), fill }));
  }
  return styles.get(color);
}

const idOf = (feature) => feature.get("polygon_id") ?? feature.get("object_id") ?? feature.getId();

// Colours of polygons by what the rasters beside them say: by class, by status.
function colorsOf(layers) {
  const byValue = new Map(), byName = new Map();
  for (const { kind, classes } of layers) {
    if (kind !== "classes") continue;
    for (const { value, name, color } of classes) {
      if (color) byValue.set(value, color), byName.set(name, color);
    }
  }
  return (feature) => byValue.get(Number(feature.get("class"))) ?? byName.get(feature.get("status"));
}
