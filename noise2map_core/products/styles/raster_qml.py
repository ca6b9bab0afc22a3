"""Styles of rasters for QGIS (QML), which finds `x.qml` beside `x.tif` by itself."""

from xml.etree import ElementTree as Xml

from noise2map_core.products.styles.legend import Legend
from noise2map_core.products.styles.palette import css_color
from noise2map_core.products.styles.qml import document


def raster_style(legend: Legend) -> str:
    """A QML document: classes by their values, or a ramp of colours."""
    root = Xml.Element("qgis", version="3.22", styleCategories="Symbology")
    pipe = Xml.SubElement(root, "pipe")
    kind = "singlebandpseudocolor" if legend.is_ramp else "paletted"
    renderer = Xml.SubElement(
        pipe, "rasterrenderer", type=kind, band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    Xml.SubElement(renderer, "rasterTransparency")
    (_add_ramp if legend.is_ramp else _add_classes)(renderer, legend)
    return document(root)


def _add_classes(renderer: Xml.Element, legend: Legend) -> None:
    palette = Xml.SubElement(renderer, "colorPalette")
    for entry in legend.entries:
        Xml.SubElement(
            palette, "paletteEntry", value=f"{entry.value:g}", label=entry.label,
            color=css_color(entry.color), alpha=str(entry.color[3]),
        )  # fmt: skip


def _add_ramp(renderer: Xml.Element, legend: Legend) -> None:
    low, high = (f"{legend.entries[at].value:.10g}" for at in (0, -1))
    renderer.attrib |= {"classificationMin": low, "classificationMax": high}
    shader = Xml.SubElement(
        Xml.SubElement(renderer, "rastershader"), "colorrampshader", colorRampType="INTERPOLATED",
        classificationMode="1", clip="0", minimumValue=low, maximumValue=high,
    )  # fmt: skip
    for entry in legend.entries:
        Xml.SubElement(
            shader, "item", value=f"{entry.value:.10g}", label=entry.label,
            color=css_color(entry.color), alpha=str(entry.color[3]),
        )  # fmt: skip
