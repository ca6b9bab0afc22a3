"use strict";
// What there is to show: the documents beside the page, and what their assets are. Of the globals
// of the page's scripts, this one makes `find`, `make` and those that begin here with `function`.

const ANYWHERE = "https://folder.invalid/"; // stands for a folder that the user has chosen
const chosenFiles = new Map(); // its files by path

const find = (id) => document.getElementById(id);

function make(parent, name, text, attributes = {}) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text; // never as HTML: names may hold anything
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return parent.appendChild(element);
}

function chooseFolder(files) {
  for (const file of files) {
    const [, ...inside] = file.webkitRelativePath.split("/");
    chosenFiles.set(inside.join("/"), file);
  }
}

const baseUrl = () => (chosenFiles.size ? ANYWHERE : document.baseURI);

// A file that was chosen, or null: then the URL is to be asked.
function chosenFile(url) {
  if (!url.startsWith(ANYWHERE)) return null;
  const path = decodeURIComponent(url.slice(ANYWHERE.length));
  if (chosenFiles.has(path)) return chosenFiles.get(path);
  throw new Error(`${path} is not in the folder`);
}

async function readJson(url) {
  const file = chosenFile(url);
  if (file) return JSON.parse(await file.text());
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  return answer.json();
}

async function readItem(url) {
  const document = await readJson(url);
  if (document.type !== "Feature") throw new Error(`${url} is no STAC item`);
  return itemOf({ url, document });
}

const itemOf = ({ url, document }) => ({ url, document, ...placeOf(document.properties) });

// Item or collection: the one that the page was made for, or else the other.
async function readRoot() {
  const name = document.querySelector("meta[name=document]").content;
  const other = name === "item.json" ? "collection.json" : "item.json";
  const read = async (one) => {
    const url = new URL(one, baseUrl()).href;
    return { url, document: await readJson(url) };
  };
  return read(name).catch((error) => read(other).catch(() => Promise.reject(error)));
}

// --- place ---------------------------------------------------------------------------------------

// CRS and extent [left, bottom, right, top] of an item's rasters; null where it does not say.
function placeOf(properties) {
  const { "proj:code": code, "proj:shape": shape, "proj:transform": at } = properties;
  const projection = code ? projectionOf(code, properties["proj:wkt2"]) : null;
  if (!projection || !shape || !at) return { projection, extent: null };
  const [height, width] = shape;
  return {
    projection, pixel: at[0],
    extent: [at[2], at[5] + height * at[4], at[2] + width * at[0], at[5]],
  };
}

function projectionOf(code, wkt) {
  if (!ol.projection(code) && wkt) {
    ol.proj4.defs(code, wkt);
    ol.register(ol.proj4);
  }
  // Without a definition rasters can be shown as they lie; tiles of polygons cannot be brought there.
  return ol.projection(code) ?? new ol.Projection({ code, units: "m" });
}

// --- assets --------------------------------------------------------------------------------------

// What can be shown of an item or a collection, the lowest first.
function layersIn(entry) {
  const { url, document } = entry;
  const found = Object.entries(document.assets ?? {})
    .map(([key, asset]) => layerOf(key, asset, url))
    .filter(Boolean);
  return found.sort((one, other) => ORDER.indexOf(one.kind) - ORDER.indexOf(other.kind));
}

const ORDER = ["photo", "classes", "amount", "reason", "polygons"];

function layerOf(key, asset, url) {
  const href = new URL(asset.href, url).href;
  const path = new URL(href).pathname;
  const name = path.slice(path.lastIndexOf("/") + 1);
  const layer = { key, asset, href, name, title: asset.title || key };
  if (name.endsWith(".pmtiles")) {
    return { ...layer, kind: "polygons", title: layer.title.split(" as ")[0] };
  }
  if (!/\.tiff?$/.test(name)) return null;
  const roles = asset.roles ?? [];
  if (roles.includes("visual") || roles.includes("overview") || /^(before|after)\./.test(name)) {
    return { ...layer, kind: "photo" };
  }
  if (asset["classification:classes"]) {
    return { ...layer, kind: key === "reason" ? "reason" : "classes", classes: classesOf(key, asset), names: namesOf(asset) };
  }
  return { ...layer, kind: "amount", ...amountOf(key, asset) };
}

const nameOf = (one) => one.description || one.title || one.name;

const namesOf = (asset) =>
  new Map(asset["classification:classes"].map((one) => [one.value, nameOf(one)]));

// Those that are drawn: of why a pixel has no decision, and of what was observed, black stands for
// what is clear.
function classesOf(key, asset) {
  const isClear = (one) => /^(reason|valid)$/.test(key) && one.color_hint === "000000";
  const drawn = asset["classification:classes"].filter((one) => !isClear(one));
  return drawn.map((one) => ({
    value: one.value,
    name: nameOf(one),
    color: one.color_hint ? "#" + one.color_hint : null,
    // The first is what there is nothing to say of: unchanged, background, decided.
    shown: one.value > 0 && Boolean(one.color_hint),
  }));
}

// How stored numbers become amounts, and between which the colours lie.
function amountOf(key, asset) {
  const band = asset.bands?.[0] ?? {};
  const stated = band.unit ?? asset.unit ?? (/probability|disagreement/.test(key) ? "%" : "");
  // Shares from 0 to 1 are shown in percent.
  const scale = (band["raster:scale"] ?? 1) * (stated === "1" ? 100 : 1);
  const unit = stated === "1" || stated === "percent" ? "%" : stated;
  const { minimum = 0, maximum = 255 } = band.statistics ?? {};
  const range = unit === "%" ? [0, 100] : [minimum * scale, Math.max(maximum, minimum + 1) * scale];
  return { scale, range, unit, nodata: band.nodata ?? -1 };
}

// An amount in words; days since a day as a day.
function amountText(amount, unit) {
  const [, epoch] = unit.match(/^days since (\d{4}-\d{2}-\d{2})$/) ?? [];
  if (epoch) return new Date(Date.parse(epoch) + Math.round(amount) * 86_400_000).toISOString().slice(0, 10);
  return `${round(amount)}${unit && " " + unit}`;
}

const round = (number) => Number(number.toPrecision(4)).toLocaleString("en");

// --- time ----------------------------------------------------------------------------------------

// The maps that a collection lists, by day: [{day, items: [url]}], the earliest first. A map and the
// alerts of one day belong together; two maps of a day are two moments.
function momentsIn(entry) {
  const moments = [];
  const links = entry.document.links.filter((link) => link.rel === "item");
  for (const { href, title } of links) {
    const day = (href.match(/\d{4}-\d{2}-\d{2}/) ?? [""])[0];
    const group = href.includes("alerts/") ? "alerts" : "map";
    const same = moments.find((one) => one.day === day && day && !one.items[group]);
    const moment = same ?? { day, title, items: {} };
    moment.items[group] = new URL(href, entry.url).href;
    if (!same) moments.push(moment);
  }
  return moments.sort((one, other) => one.day.localeCompare(other.day));
}
