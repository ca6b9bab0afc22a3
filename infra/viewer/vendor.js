// All that the viewer takes of other packages, as the one global `ol`; `make viewer` bundles it.
export { default as Map } from "ol/Map.js";
export { default as View } from "ol/View.js";
export { default as TileLayer } from "ol/layer/Tile.js";
export { default as VectorTileLayer } from "ol/layer/VectorTile.js";
export { default as DataTileSource } from "ol/source/DataTile.js";
export { default as TileGrid } from "ol/tilegrid/TileGrid.js";
export { default as XYZ } from "ol/source/XYZ.js";
export { PMTilesVectorSource } from "ol-pmtiles";
export { default as Attribution } from "ol/control/Attribution.js";
export { default as Zoom } from "ol/control/Zoom.js";
export { default as ScaleLine } from "ol/control/ScaleLine.js";
export { Style, Stroke, Fill } from "ol/style.js";
export { default as Projection } from "ol/proj/Projection.js";
export { get as projection, transform, transformExtent } from "ol/proj.js";
export { register } from "ol/proj/proj4.js";
export { default as proj4 } from "proj4";
export { FileSource } from "pmtiles";
export { fromBlob, fromUrl, Pool } from "geotiff";
