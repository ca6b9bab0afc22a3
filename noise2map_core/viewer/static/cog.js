"use strict";
// Cloud-optimised GeoTIFFs, read by ranges, drawn tile by tile on the grid that they have. Tiles
// are painted here, not by WebGL: every pixel has the colour of its number, with or without a GPU.

const BLOCK_BYTES = 65_536; // of a request, at least
let workers; // decode photographs

// A file of images, the smallest first, each with its mask if it has one.
async function openCog(href) {
  const file = chosenFile(href);
  const tiff = file ? await ol.fromBlob(file) : await ol.fromUrl(href, { blockSize: BLOCK_BYTES });
  const count = await tiff.getImageCount();
  const all = await Promise.all([...Array(count).keys()].map((at) => tiff.getImage(at)));
  const isMask = (image) => Boolean((image.fileDirectory.getValue("NewSubfileType") ?? 0) & 4);
  const bySize = (one, other) => one.getWidth() - other.getWidth();
  const levels = all.filter((image) => !isMask(image)).sort(bySize);
  const masks = all.filter(isMask);
  const maskOf = (image) => masks.find((mask) => mask.getWidth() === image.getWidth());
  return { levels: levels.map((image) => ({ image, mask: maskOf(image) })), extent: levels.at(-1).getBoundingBox() };
}

function gridOf({ levels, extent }) {
  const [left, bottom, right, top] = extent;
  return new ol.TileGrid({
    extent, origin: [left, top],
    resolutions: levels.map(({ image }) => (right - left) / image.getWidth()),
    tileSizes: levels.map(({ image }) => [image.getTileWidth(), image.getTileHeight()]),
  });
}

// A source of tiles: `paint(numbers, canvas's RGBA as words)` colours them; null: a photograph.
function cogSource(cog, projection, paint) {
  const numbers = new Map(); // of tiles by their place: what is painted anew is not read anew
  const load = async (z, x, y, { signal }) => {
    const level = cog.levels[z];
    const place = windowOf(level.image, x, y);
    if (!paint) return photoTile(level, place, signal);
    const key = `${z}/${x}/${y}`;
    if (!numbers.has(key)) {
      if (numbers.size > 200) numbers.delete(numbers.keys().next().value);
      const [band] = await level.image.readRasters({ window: place, samples: [0], signal });
      numbers.set(key, band);
    }
    return painted(level.image, place, (words) => paint(numbers.get(key), words));
  };
  return new ol.DataTileSource({
    loader: load, tileGrid: gridOf(cog), projection, wrapX: false, transition: 0,
    interpolate: !paint,
  });
}

// Of a tile, pixels [left, top, right, bottom] within the image.
function windowOf(image, x, y) {
  const [width, height] = [image.getTileWidth(), image.getTileHeight()];
  return [x * width, y * height, Math.min((x + 1) * width, image.getWidth()),
    Math.min((y + 1) * height, image.getHeight())];
}

// A canvas of a whole tile; what lies beyond the image stays clear.
function painted(image, [left, top, right, bottom], fill) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.getTileWidth(), image.getTileHeight()];
  const pixels = new ImageData(right - left, bottom - top);
  fill(new Uint32Array(pixels.data.buffer));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

async function photoTile({ image, mask }, place, signal) {
  workers ??= new ol.Pool(Math.min(4, navigator.hardwareConcurrency ?? 2));
  const options = { window: place, interleave: true, signal };
  const [rgb, seen] = await Promise.all([
    image.readRGB({ ...options, pool: workers }),
    mask?.readRasters({ ...options, samples: [0] }),
  ]);
  return painted(image, place, (words) => {
    for (let at = 0; at < words.length; at++) {
      const alpha = !seen || seen[at] ? 255 : 0;
      words[at] = (alpha << 24) | (rgb[3 * at + 2] << 16) | (rgb[3 * at + 1] << 8) | rgb[3 * at];
    }
  });
}

// The number that is stored for a place, of the finest image; undefined beyond it.
async function numberAt(cog, [x, y]) {
  const { image } = cog.levels.at(-1);
  const [left, bottom, right, top] = cog.extent;
  const col = Math.floor(((x - left) / (right - left)) * image.getWidth());
  const row = Math.floor(((top - y) / (top - bottom)) * image.getHeight());
  if (col < 0 || row < 0 || col >= image.getWidth() || row >= image.getHeight()) return undefined;
  const [band] = await image.readRasters({ window: [col, row, col + 1, row + 1], samples: [0] });
  return band[0];
}

// "#rrggbb" as a word of an image's data; null is clear.
function wordOf(color) {
  if (!color) return 0;
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
