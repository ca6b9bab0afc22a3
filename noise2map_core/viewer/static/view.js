"use strict";
// The page: a map, its layers and numbers; for a collection a slider of time over its maps.

const map = new ol.Map({ controls: [new ol.Zoom({ zoomInTipLabel: "Zoom in", zoomOutTipLabel: "Zoom out" }),
  new ol.ScaleLine(), new ol.Attribution({ collapsible: false })] });
let layers = []; // as of `addLayer`, the lowest first
let common = []; // those of the collection, which stay from moment to moment
let moments = [];
let shownView = ""; // CRS and extent that the view was made for

start();

async function start() {
  if (location.protocol === "file:") return sayWhyNot();
  await open();
}

async function open() {
  let root;
  try {
    root = await readRoot();
    if (!["Feature", "Collection"].includes(root.document.type)) throw new Error("no STAC document");
  } catch (error) {
    say(`There is no map beside this page: ${reasonOf(error)}.`);
    return;
  }
  find("main").hidden = false;
  map.setTarget("map");
  addBasemap();
  if (root.document.type === "Feature") {
    describe(root.document.properties.title ?? root.document.id);
    await show([itemOf(root)]);
  } else {
    await openCollection(root);
  }
}

function say(text) {
  find("notice").hidden = false;
  find("notice-text").textContent = text;
}

function sayWhyNot() {
  say("A browser lets a page that is opened as a file read no files beside it. In a terminal, "
    + "“noise2map view FOLDER” shows this map.");
  find("opener").hidden = false;
  find("folder").addEventListener("change", async () => {
    chooseFolder(find("folder").files);
    find("notice").hidden = true;
    await open();
  });
}

function describe(title, summary = "") {
  document.title = find("title").textContent = title;
  find("summary").textContent = summary;
}

function addBasemap() {
  const url = document.querySelector("meta[name=basemap]").content;
  if (!url) return;
  const source = new ol.XYZ({ url, attributions: new URL(url.replace("{s}", "a")).hostname });
  map.addLayer(new ol.TileLayer({ source, className: "basemap" }));
}

// --- what is shown -------------------------------------------------------------------------------

// Show the layers of items on one grid, in place of those of the items before.
async function show(items) {
  const remembered = new Map(layers.map((one) => [one.key, one]));
  for (const one of layers) if (one.ol) map.removeLayer(one.ol), one.ol.dispose();
  find("layers").replaceChildren();
  const [first] = items;
  const found = items.flatMap((item) => layersIn(item).map((layer) => [layer, item]));
  if (common.length) {
    // Where outlines are followed over the days, those of each map wait until they are asked for.
    for (const [layer] of found) if (layer.name === "polygons.pmtiles") layer.quiet = true;
  }
  found.push(...common.map((layer) => [layer, first]));
  found.sort(([one], [other]) => ORDER.indexOf(one.kind) - ORDER.indexOf(other.kind));
  const colorOf = colorsOf(found.map(([layer]) => layer));
  layers = found.map(([layer, item]) => addLayer({ ...layer, colorOf }, item, remembered.get(layer.key)));
  for (const one of layers) if (one.ol) map.addLayer(one.ol);
  for (const one of [...find("layers").children].reverse()) find("layers").append(one); // as they lie
  if (!layers.some((one) => one.kind === "polygons")) {
    make(find("layers"), "p", "There are no tiles of polygons (.pmtiles) in this map.", { class: "faint" });
  }
  sayFacts(items);
  arrangeSwipe();
  clearFacts();
  map.updateSize(); // the swipe may have come below it
  setView(first);
  await Promise.all(layers.map((one) => one.opened));
  map.once("rendercomplete", () => performance.mark("picture")); // all that is shown is there
  map.render();
}

function setView({ projection, extent, document }) {
  const key = `${projection?.getCode()} ${extent}`;
  if (key === shownView) return;
  shownView = key;
  const shown = extent ?? ol.transformExtent(document.bbox, "EPSG:4326", projection ?? "EPSG:3857");
  const [left, bottom, right, top] = shown;
  const widest = Math.max(right - left, top - bottom);
  map.setView(new ol.View({
    projection: projection ?? "EPSG:3857", extent: grown(shown, widest), constrainOnlyCenter: true,
    minResolution: widest / 1e6, maxResolution: widest / 100, showFullExtent: true,
  }));
  map.getView().fit(shown, { padding: [12, 12, 12, 12] });
}

const grown = ([left, bottom, right, top], by) => [left - by, bottom - by, right + by, top + by];

function sayFacts(items) {
  const facts = find("about-facts"), files = find("files");
  facts.replaceChildren();
  files.replaceChildren();
  for (const { document: item, url } of items) {
    const said = item.properties;
    const rows = {
      Id: item.id, From: said.start_datetime ?? said.datetime, To: said.end_datetime,
      "Made by": said["processing:lineage"], CRS: said["proj:code"],
      "With thanks to": said.attribution, "Not right": said["noise2map:warnings"]?.join(" "),
    };
    for (const [name, text] of Object.entries(rows)) if (text) addFact(facts, name, text);
    for (const [key, asset] of Object.entries(item.assets)) {
      const href = new URL(asset.href, url);
      if (href.origin !== location.origin) continue;
      make(make(files, "li"), "a", asset.title ?? key, { href: href.href });
    }
  }
}

function addFact(list, name, text) {
  make(list, "dt", name);
  make(list, "dd", text);
}

// --- time ----------------------------------------------------------------------------------------

async function openCollection(root) {
  const { document: collection } = root;
  moments = momentsIn(root);
  common = layersIn(root).filter((layer) => layer.kind === "polygons");
  describe(collection.title ?? collection.id, `${moments.length} maps`);
  if (!moments.length) return say("This collection lists no map yet.");
  const slider = find("moment");
  slider.max = moments.length - 1;
  slider.value = slider.max;
  find("time").hidden = moments.length < 2;
  slider.addEventListener("input", showMoment);
  for (const [id, step] of [["earlier", -1], ["later", 1]]) {
    find(id).addEventListener("click", () => {
      slider.value = Number(slider.value) + step;
      showMoment();
    });
  }
  await showMoment();
}

const asked = { moment: 0, numbers: 0 }; // the newest question counts

async function showMoment() {
  const at = Number(find("moment").value), moment = moments[at], mine = ++asked.moment;
  const text = moment.day || moment.title || `map ${at + 1}`;
  find("moment-text").textContent = `${text} (${at + 1} of ${moments.length})`;
  find("moment").setAttribute("aria-valuetext", text);
  find("earlier").disabled = at === 0;
  find("later").disabled = at === moments.length - 1;
  const wanted = [moment.items.map, newestAlerts(at)].filter(Boolean);
  const answers = await Promise.allSettled(wanted.map(readItem));
  if (mine !== asked.moment) return; // the slider has moved on
  const items = answers.filter((one) => one.status === "fulfilled").map((one) => one.value);
  const broken = answers.find((one) => one.status === "rejected");
  find("notice").hidden = !broken;
  if (broken) say(`Of ${text} not all can be shown: ${reasonOf(broken.reason)}.`);
  if (items.length) await show(items);
  showDay(moment.day);
}

// Alerts stand as they were at the last look.
function newestAlerts(at) {
  for (let index = at; index >= 0; index--) {
    if (moments[index].items.alerts) return moments[index].items.alerts;
  }
  return undefined;
}

const NEW = "#ff2bd6", SEEN = "#ffa500";

// Of what is followed over days, what is there on this one; what is new in a colour of its own.
function showDay(day) {
  for (const state of layers) {
    if (state.kind !== "polygons" || !day) continue;
    state.filter = (feature) => isThere(feature, day);
    if (common.some((one) => one.key === state.key)) {
      state.colorOf = (feature) => (feature.get("first_seen") === day ? NEW : SEEN);
    }
    state.ol?.changed();
  }
}

// An outline has its own days (date, until), an object those on which it was seen.
function isThere(feature, day) {
  const { date, until, first_seen: first } = feature.getProperties();
  if (date && until) return date <= day && day <= until;
  return !first || String(first).slice(0, 10) <= day;
}

function sayFar() {
  for (const { far, farthest } of layers) {
    if (far) far.hidden = map.getView().getResolution() < farthest;
  }
}

// --- swipe ---------------------------------------------------------------------------------------

const swipe = find("swipe");

function arrangeSwipe() {
  const [before, after] = ["before", "after"].map((key) => layers.find((one) => one.key === key));
  const both = Boolean(before?.ol && after?.ol && before.shown && after.shown);
  find("swipe-label").hidden = find("divider").hidden = !both;
  find("map").classList.toggle("swiping", both);
  if (!both) return;
  find("swipe-left").textContent = before.title;
  find("swipe-right").textContent = after.title;
  showSwipe();
}

function showSwipe() {
  const share = Number(swipe.value);
  find("map").style.setProperty("--swipe", share + "%");
  find("divider").style.left = share + "%";
}

function dragSwipe(event) {
  if (!find("divider").hasPointerCapture(event.pointerId)) return;
  const box = find("map").getBoundingClientRect();
  swipe.value = (100 * (event.clientX - box.left)) / box.width;
  showSwipe();
}

// --- numbers -------------------------------------------------------------------------------------

function clearFacts() {
  find("facts").replaceChildren();
  for (const one of layers) one.chosen = undefined;
}

async function tell(pixel) {
  const mine = ++asked.numbers;
  const place = map.getCoordinateFromPixel(pixel);
  const values = layers.map(async (state) => [state, await valueAt(state, place)]);
  const told = await Promise.all(values);
  if (mine !== asked.numbers) return; // another place was asked for
  clearFacts();
  for (const [state, value] of told) if (value) addFact(find("facts"), state.title, value);
  for (const state of layers.filter((one) => one.kind === "polygons" && one.ol && one.shown)) {
    const feature = map.forEachFeatureAtPixel(pixel, (one) => one, {
      hitTolerance: NEAR_PX, layerFilter: (layer) => layer === state.ol,
    });
    if (feature) tellPolygon(state, feature);
    state.ol.changed();
  }
  find("here-note").hidden = find("facts").children.length > 0;
}

// What a raster says of a place, in words; nothing where it was never shown or cannot be read.
async function valueAt(state, place) {
  if (state.kind === "photo" || !state.cog) return "";
  let stored;
  try {
    stored = await numberAt(state.cog, place);
  } catch (error) {
    return `cannot be read: ${reasonOf(error)}`;
  }
  if (stored === undefined) return "";
  if (state.kind === "amount") {
    return stored === state.nodata ? "none" : amountText(stored * state.scale, state.unit);
  }
  return state.names.get(stored) ?? (stored === 255 ? "no decision" : String(stored));
}

const NEAR_PX = 3; // a click this close to an outline means it
function tellPolygon(state, feature) {
  state.chosen = idOf(feature);
  const facts = find("facts"), said = feature.getProperties();
  for (const [name, value] of Object.entries(said)) {
    if (value === "" || value === null || name === "layer") continue;
    addFact(facts, ...attribute(name, value));
  }
}

const UNITS = { m2: "m²", ha: "ha", km2: "km²", m: "m", px: "pixels", days: "days", percent: "%" };

// An attribute's name and value for people: area_m2 1234.5 → "area", "1,234.5 m²".
function attribute(name, value) {
  const ending = name.match(/^(.+)_([a-z0-9]+)$/);
  const unit = ending && UNITS[ending[2]];
  const text = unit ? ending[1] : name;
  if (typeof value !== "number") return [text.replaceAll("_", " "), String(value)];
  if (/^(probability|support|p_mean|p_max)$/.test(name)) {
    return [text.replaceAll("_", " "), `${round(100 * value)} %`];
  }
  return [text.replaceAll("_", " "), round(value) + (unit ? " " + unit : "")];
}

// --- events --------------------------------------------------------------------------------------

map.on("singleclick", (event) => tell(event.pixel));
map.on("loadstart", () => (find("busy").textContent = "loading …"));
map.on("loadend", () => (find("busy").textContent = ""));
document.addEventListener("layers", () => {
  arrangeSwipe();
  sayFar();
});
map.on("moveend", sayFar);
swipe.addEventListener("input", showSwipe);
find("time").addEventListener("submit", (event) => event.preventDefault());
find("map").addEventListener("keydown", (event) => {
  if (event.key === "Enter") tell(map.getSize().map((side) => side / 2));
});
find("divider").addEventListener("pointerdown", (event) => {
  find("divider").setPointerCapture(event.pointerId);
  event.preventDefault();
});
find("divider").addEventListener("pointermove", dragSwipe);
