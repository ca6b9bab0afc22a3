// The map of the report. Everything that it shows comes from the JSON in #data, and is put into the
// page as text only (textContent), never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const NEAR_PX = 24; // a click this close to a small area means that area

function make(parent, name, text, attributes = {}) {
  const svg = ["svg", "path", "rect", "text"].includes(name);
  const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return parent.appendChild(element);
}

// --- layers: before and after lie below, maps above them -----------------------------------------

const maps = data.layers.map((layer) => ({ ...layer, image: find("layer-" + layer.id) }));

function showLayers() {
  const opacity = find("opacity").value / 100;
  find("legends").replaceChildren();
  for (const { image, id, legend } of maps) {
    const shown = find("show-" + id).checked;
    image.hidden = !shown;
    image.style.opacity = opacity;
    if (shown) for (const [color, text] of legend) addLegend(color, text);
  }
  find("outlines").style.display = find("show-outlines").checked ? "" : "none";
}

function addLegend(color, text) {
  const entry = make(find("legends"), "span");
  const swatch = make(entry, "svg", undefined, { width: 18, height: 12, "aria-hidden": "true" });
  make(swatch, "rect", undefined, { width: 18, height: 12, fill: color });
  make(entry, "span", text);
}

function addSwitch(id, title, shown) {
  const label = make(find("layers"), "label");
  const box = make(label, "input", undefined, { type: "checkbox", id: "show-" + id });
  box.checked = shown;
  box.addEventListener("change", showLayers);
  make(label, "span", title);
}

// --- swipe ---------------------------------------------------------------------------------------

const swipe = find("swipe");

function showSwipe() {
  const after = find("image-after");
  if (after) after.style.clipPath = `inset(0 0 0 ${swipe.value}%)`;
  find("divider").style.left = swipe.value + "%";
}

function dragSwipe(event) {
  if (!find("divider").hasPointerCapture(event.pointerId)) return;
  const box = find("stage").getBoundingClientRect();
  swipe.value = (100 * (event.clientX - box.left)) / box.width;
  showSwipe();
}

// --- size and scale ------------------------------------------------------------------------------

const STEPS = [1, 1.5, 2, 3, 4, 6, 8, 12];
let zoom = 0;

function fitWidth() {
  const room = find("scroller");
  return Math.min(room.clientWidth, (0.78 * window.innerHeight * data.width) / data.height);
}

function resize(next) {
  const room = find("scroller"), stage = find("stage");
  const x = (room.scrollLeft + room.clientWidth / 2) / (stage.offsetWidth || 1);
  const y = (room.scrollTop + room.clientHeight / 2) / (stage.offsetHeight || 1);
  zoom = Math.max(0, Math.min(STEPS.length - 1, next));
  const width = Math.floor(fitWidth() * STEPS[zoom]);
  stage.style.width = width + "px";
  stage.style.height = (width * data.height) / data.width + "px";
  room.scrollLeft = x * stage.offsetWidth - room.clientWidth / 2;
  room.scrollTop = y * stage.offsetHeight - room.clientHeight / 2;
  for (const image of stage.querySelectorAll("img")) {
    image.classList.toggle("pixels", width > 1.5 * data.width);
  }
  showScale(width);
}

function showScale(width) {
  const metres = (data.metres_per_px * data.width) / width; // of one CSS pixel
  const most = metres * 140;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map((k) => k * power).find((value) => value <= most);
  find("scale-bar").style.width = length / metres + "px";
  find("scale-text").textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
}

// --- areas ---------------------------------------------------------------------------------------

const list = find("areas-list");
const paths = [], rows = [];

function areaText(m2) {
  const [value, unit] = m2 >= 1e6 ? [m2 / 1e6, "km²"] : m2 >= 1e4 ? [m2 / 1e4, "ha"] : [m2, "m²"];
  return value.toLocaleString("en", { maximumSignificantDigits: 4 }) + " " + unit;
}

// What is shown of an area, and what is sorted by and saved: heading, text, value, hidden.
function columns(area, at) {
  return [
    ["number", String(at + 1), at + 1, "no."],
    ["area_m2", areaText(area.area_m2), area.area_m2, "area"],
    ["probability", `${Math.round(100 * area.probability)} %`, area.probability],
    ["class", area.class_name, area.class_name],
    ["pixels", area.pixels.toLocaleString("en"), area.pixels],
    ["latitude_longitude", area.centre, area.centre, "centre"],
    ["id", area.id, area.id],
  ];
}

function addAreas() {
  const outlines = find("outlines");
  outlines.setAttribute("viewBox", `0 0 ${data.width} ${data.height}`);
  outlines.setAttribute("preserveAspectRatio", "none");
  data.areas.forEach((area, at) => {
    paths.push(make(outlines, "path", undefined, { d: area.path, stroke: area.color }));
    const row = make(list.tBodies[0], "tr");
    rows.push(row);
    for (const [name, text, value, shown] of columns(area, at)) {
      if (!at) {
        make(list.tHead.rows[0], "th", shown ?? name, { scope: "col", "data-value": name });
      }
      const cell = make(row, "td", name === "number" ? undefined : text, { "data-value": value });
      if (name !== "number") continue;
      const button = make(cell, "button", text, { type: "button", "aria-label": `Area ${text}` });
      button.addEventListener("click", () => choose(at, true));
    }
  });
  if (data.areas.length) sortable(list, find("areas-download"), "areas.csv");
}

function choose(at, scroll) {
  for (const one of [...paths, ...rows]) one.classList.remove("chosen");
  const box = find("area");
  box.replaceChildren();
  if (at < 0) return;
  const area = data.areas[at];
  paths[at].classList.add("chosen");
  paths[at].parentNode.append(paths[at]); // on top of the others
  rows[at].classList.add("chosen");
  if (!scroll) rows[at].scrollIntoView({ block: "nearest" });
  const facts = {
    Area: areaText(area.area_m2),
    Probability: `${(100 * area.probability).toFixed(1)} % (mean)`,
    Class: area.class_name,
    Pixels: area.pixels.toLocaleString("en"),
    ...data.dates,
    Centre: area.centre,
    Id: area.id,
  };
  for (const [name, text] of Object.entries(facts)) {
    make(box, "dt", name);
    make(box, "dd", text);
  }
  if (scroll) reveal(area.box);
}

function reveal([left, top, right, bottom]) {
  const room = find("scroller"), scale = find("stage").offsetWidth / data.width;
  room.scrollLeft = ((left + right) / 2) * scale - room.clientWidth / 2;
  room.scrollTop = ((top + bottom) / 2) * scale - room.clientHeight / 2;
}

function areaAt(x, y, near) {
  // The smallest area that holds the point; else the nearest that is small enough to be missed.
  let best = -1, least = Infinity;
  data.areas.forEach(({ box: [left, top, right, bottom] }, at) => {
    if (x < left || x > right || y < top || y > bottom) return;
    const size = (right - left) * (bottom - top);
    if (size < least && paths[at].isPointInFill(new DOMPoint(x, y))) [best, least] = [at, size];
  });
  if (best >= 0) return best;
  least = near;
  data.areas.forEach(({ box: [left, top, right, bottom] }, at) => {
    if (Math.max(right - left, bottom - top) > 2 * near) return;
    const far = Math.hypot((left + right) / 2 - x, (top + bottom) / 2 - y);
    if (far < least) [best, least] = [at, far];
  });
  return best;
}

function clickStage(event) {
  if (find("divider").contains(event.target)) return;
  const box = find("stage").getBoundingClientRect();
  const scale = data.width / box.width;
  const at = areaAt(
    (event.clientX - box.left) * scale, (event.clientY - box.top) * scale, NEAR_PX * scale);
  choose(at, false);
}

// --- histograms ----------------------------------------------------------------------------------

function addHistogram({ title, labels, counts, unit }) {
  const [width, height, left, foot] = [420, 170, 44, 22];
  const figure = make(find("histograms"), "figure");
  make(figure, "figcaption", title);
  const chart = make(figure, "svg", undefined, {
    viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": title + ": " + labels.map((label, at) => `${label} ${counts[at]}`).join(", "),
  });
  const most = Math.max(1, ...counts), step = (width - left) / counts.length;
  counts.forEach((count, at) => {
    const tall = ((height - foot - 14) * count) / most;
    make(chart, "rect", undefined, {
      x: left + at * step + 1, y: height - foot - tall, width: Math.max(1, step - 2), height: tall,
    });
  });
  const every = Math.ceil(labels.length / 6);
  labels.forEach((label, at) => {
    if (at % every === 0) make(chart, "text", label, { x: left + at * step, y: height - 7 });
  });
  const top = most.toLocaleString("en", { notation: "compact" });
  make(chart, "text", `${top} ${unit}`, { x: 0, y: 10 });
  make(chart, "text", "0", { x: left - 14, y: height - foot });
}

// --- start ---------------------------------------------------------------------------------------

for (const { id, title, shown } of maps) addSwitch(id, title, shown);
addSwitch("outlines", "outlines", true);
addAreas();
data.histograms.forEach(addHistogram);
showLayers();
showSwipe();
resize(0);

const twoDates = find("image-before") !== null;
find("divider").hidden = find("swipe-label").hidden = !twoDates;
find("opacity").addEventListener("input", showLayers);
swipe.addEventListener("input", showSwipe);
find("divider").addEventListener("pointerdown", (event) => {
  find("divider").setPointerCapture(event.pointerId);
  event.preventDefault();
});
find("divider").addEventListener("pointermove", dragSwipe);
find("stage").addEventListener("click", clickStage);
find("zoom-in").addEventListener("click", () => resize(zoom + 1));
find("zoom-out").addEventListener("click", () => resize(zoom - 1));
find("zoom-fit").addEventListener("click", () => resize(0));
find("scroller").addEventListener("keydown", (event) => {
  if (event.key === "+") resize(zoom + 1);
  if (event.key === "-") resize(zoom - 1);
  if (event.key === "0") resize(0);
});
window.addEventListener("resize", () => resize(zoom));
