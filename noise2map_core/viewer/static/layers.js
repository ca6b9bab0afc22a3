"use strict";
// Layers of the map, each with its entry in the panel.

const CLEAR = [0, 0, 0, 0];
const SHADES = [
  "#000003", "#060519", "#140d35", "#251155", "#3b0f6f", "#50127b", "#63197f", "#772181",
  "#8c2980", "#a12f7e", "#b63679", "#ca3e72", "#dd4968", "#ed595f", "#f6705b", "#fb8861",
  "#fd9f6c", "#feb77d", "#fdcf92", "#fce6a8", "#fbfcbf",
]; // magma, as in the report
const OUTLINE = "#ff2bd6";
const CHOSEN = new ol.Style({ stroke: new ol.Stroke({ color: "#ffd400", width: 4 }), zIndex: 9 });
const LEAST_PX = 2; // an outline that is smaller says nothing that the raster does not

// A layer as of `layersIn`, on the map of `item`; `remembered` is what the user set of the one before.
function addLayer(layer, item, remembered) {
  const shown = remembered?.shown ?? layer.kind !== "amount";
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
  watch(state);
  return state;
}

function fail(state, error) {
  state.broken = true;
  state.entry.classList.add("broken");
  if (state.entry.querySelector(".problem")) return;
  make(state.entry, "p", `${state.name} cannot be shown: ${reasonOf(error)}.`, {
    class: "problem", role: "status",
  });
}

function reasonOf(error) {
  const text = String(error?.errors?.[0]?.message ?? error?.message ?? error ?? "it cannot be read");
  return text.replace(/\.$/, "");
}

function watch(state) {
  const source = state.ol.getSource();
  source.on("change", () => {
    if (source.getState() === "error") fail(state, source.getError?.() ?? source.error_);
  });
  source.on("tileloaderror", () => fail(state, "a part of it cannot be read"));
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

function geotiff(state, item, options) {
  const file = chosenFile(state.href);
  const source = file ? { blob: file } : { url: state.href };
  return new ol.GeoTIFF({
    sources: [source], wrapX: false, transition: 0, projection: item.projection ?? undefined,
    sourceOptions: { allowFullFile: false, maxRanges: 0 }, ...options,
  });
}

function photoLayer(state, item) {
  const source = geotiff(state, item, { convertToRGB: "auto" });
  return new ol.WebGLTileLayer({ source, className: `photo photo-${state.key}` });
}

// Numbers as they are, each pixel by itself.
const plain = { normalize: false, interpolate: false };

function classLayer(state, item) {
  const layer = new ol.WebGLTileLayer({
    source: geotiff(state, item, plain), className: "raster raster-" + state.key,
    extent: item.extent ?? undefined, style: classStyle(state.classes),
  });
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
      layer.setStyle(classStyle(state.classes));
    });
  }
  return layer;
}

function classStyle(classes) {
  const colors = new Array(256).fill(CLEAR);
  for (const { value, color, shown } of classes) if (shown) colors[value] = color ?? "#000000";
  return { color: ["palette", ["band", 1], colors] };
}

function amountLayer(state, item) {
  const { scale, range, unit } = state;
  state.least ??= range[0];
  const layer = new ol.WebGLTileLayer({
    source: geotiff(state, item, plain), className: "raster raster-" + state.key,
    extent: item.extent ?? undefined, style: amountStyle(state),
  });
  const step = (range[1] - range[0]) / 100;
  const format = (n) => `${Number(n.toPrecision(4))}${unit && " " + unit}`;
  addRamp(state, format);
  const limits = { min: range[0], max: range[1], step };
  addSlider(state, "least", "At least", limits, state.least, format, (n) => {
    state.least = n;
    layer.updateStyleVariables({ least: leastStored(n, scale) });
  });
  return layer;
}

function addRamp(state, format) {
  const ramp = make(state.entry, "div", undefined, { class: "ramp", "aria-hidden": "true" });
  for (const color of SHADES) make(ramp, "i").style.background = color;
  const ends = make(state.entry, "div", undefined, { class: "ends" });
  for (const end of state.range) make(ends, "span", format(end));
}

// Half a step less: numbers of a texture are floats.
const leastStored = (amount, scale) => amount / scale - 0.5;

function amountStyle({ scale, range: [low, high], nodata, least }) {
  const ratio = ["/", ["-", ["*", ["band", 1], scale], low], high - low];
  const shade = ["floor", ["*", ["clamp", ratio, 0, 1], SHADES.length - 0.001]];
  return {
    variables: { least: leastStored(least, scale) },
    color: [
      "case", ["==", ["band", 1], nodata], CLEAR, ["<", ["band", 1], ["var", "least"]], CLEAR,
      ["palette", shade, SHADES],
    ],
  };
}

// --- polygons ------------------------------------------------------------------------------------

function polygonLayer(state, item) {
  if (!item.projection || !canTransform(item.projection)) {
    throw new Error(`its tiles cannot be brought to ${item.projection?.getCode() ?? "this map"}`);
  }
  const file = chosenFile(state.href);
  const source = new ol.PMTilesVectorSource({ url: file ? new ol.FileSource(file) : state.href });
  source.pmtiles_.getHeader().catch((error) => fail(state, error));
  const layer = new ol.VectorTileLayer({
    source, declutter: false, renderBuffer: 16, className: "polygons polygons-" + state.key,
    style: (feature, resolution) => polygonStyle(state, feature, resolution),
  });
  return layer;
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
