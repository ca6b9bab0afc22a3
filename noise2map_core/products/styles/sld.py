"""Styles as OGC's Styled Layer Descriptor 1.0, which GeoServer, MapServer and others read."""

from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as Xml

from noise2map_core.products.styles.legend import Legend
from noise2map_core.products.styles.palette import css_color

SLD, OGC = "http://www.opengis.net/sld", "http://www.opengis.net/ogc"
FILL_OPACITY = "0.35"
STROKE_PX = "1"
POINT_PX, RING_PX = "14", "3"


def raster_sld(name: str, legend: Legend) -> str:
    """Of a raster whose values are read with scale and offset; nodata is not drawn."""
    root, rule = _layer(name)
    symbol = Xml.SubElement(rule, "RasterSymbolizer")
    _text(symbol, "Opacity", "1")
    kind = "ramp" if legend.is_ramp else "values"
    colors = Xml.SubElement(symbol, "ColorMap", type=kind)
    for entry in legend.entries:
        Xml.SubElement(
            colors, "ColorMapEntry", color=css_color(entry.color),
            quantity=f"{entry.value:.10g}", label=entry.label,
            opacity=f"{entry.color[3] / 255:.3g}",
        )  # fmt: skip
    return _document(root)


def polygon_sld(
    name: str,
    colors: Mapping[Any, str],
    names: Mapping[Any, str],
    column: str = "class",
    opacity: str = FILL_OPACITY,
) -> str:
    """Of polygons: a rule a value of `column` ("": none at all), translucent with an outline."""
    return _by_value(
        name, names, column, lambda rule, value: _add_area(rule, colors[value], opacity)
    )


def point_sld(name: str, colors: Mapping[Any, str], names: Mapping[Any, str], column: str) -> str:
    """Of points: a rule a value of `column` ("": none at all), rings."""
    return _by_value(name, names, column, lambda rule, value: _add_ring(rule, colors[value]))


def _by_value(
    name: str, names: Mapping[Any, str], column: str, draw: Callable[[Xml.Element, Any], None]
) -> str:
    root, first = _layer(name)
    style = next(root.iter("FeatureTypeStyle"))
    style.remove(first)
    for value, title in names.items():
        rule = Xml.SubElement(style, "Rule")
        _add_filter(rule, column, value, title)
        draw(rule, value)
    return _document(root)


def _add_filter(rule: Xml.Element, column: str, value: Any, title: str) -> None:
    _text(rule, "Title", title)
    kind = "ogc:PropertyIsNull" if value == "" else "ogc:PropertyIsEqualTo"
    compared = Xml.SubElement(Xml.SubElement(rule, "ogc:Filter"), kind)
    _text(compared, "ogc:PropertyName", column)
    if value != "":
        _text(compared, "ogc:Literal", str(value))


def _add_area(rule: Xml.Element, color: str, opacity: str) -> None:
    symbol = Xml.SubElement(rule, "PolygonSymbolizer")
    _add_part(symbol, "Fill", {"fill": color, "fill-opacity": opacity})
    _add_part(symbol, "Stroke", {"stroke": color, "stroke-width": STROKE_PX})


def _add_ring(rule: Xml.Element, color: str) -> None:
    graphic = Xml.SubElement(Xml.SubElement(rule, "PointSymbolizer"), "Graphic")
    mark = Xml.SubElement(graphic, "Mark")
    _text(mark, "WellKnownName", "circle")
    _add_part(mark, "Stroke", {"stroke": color, "stroke-width": RING_PX})
    _text(graphic, "Size", POINT_PX)


def _add_part(symbol: Xml.Element, part: str, told: dict[str, str]) -> None:
    element = Xml.SubElement(symbol, part)
    for key, text in told.items():
        Xml.SubElement(element, "CssParameter", name=key).text = text


def _layer(name: str) -> tuple[Xml.Element, Xml.Element]:
    """A document for one layer, and its first rule."""
    spaces = {"xmlns": SLD, "xmlns:ogc": OGC}
    root = Xml.Element("StyledLayerDescriptor", {"version": "1.0.0", **spaces})
    layer = Xml.SubElement(root, "NamedLayer")
    _text(layer, "Name", name)
    style = Xml.SubElement(layer, "UserStyle")
    _text(style, "Title", name)
    return root, Xml.SubElement(Xml.SubElement(style, "FeatureTypeStyle"), "Rule")


def _text(parent: Xml.Element, tag: str, text: str) -> None:
    Xml.SubElement(parent, tag).text = text


def _document(root: Xml.Element) -> str:
    Xml.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode")
