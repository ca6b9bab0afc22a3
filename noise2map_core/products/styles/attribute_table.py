"""Names and colours of a raster's values as GDAL keeps them beside it, in `x.tif.aux.xml`."""

from collections.abc import Mapping
from xml.etree import ElementTree as Xml

from noise2map_core.products.styles.palette import CLEAR
from noise2map_core.report.images import Rgba

SIDE_CAR = ".aux.xml"
"""Ends the name of the file, behind the raster's own."""

# Types and usages are GDAL's enumerations: integers and strings; value, name, colours.
_COLUMNS = (
    ("Value", 0, 5), ("Class", 2, 2), ("R", 0, 6), ("G", 0, 7), ("B", 0, 8), ("A", 0, 9),
)  # fmt: skip


def attribute_table(names: Mapping[int, str], colors: Mapping[int, Rgba]) -> str:
    """What a GeoTIFF itself cannot hold: names, transparency, and a colour table that ends with the
    last class (its own has 256 entries, and most of them are black)."""
    root = Xml.Element("PAMDataset")
    band = Xml.SubElement(root, "PAMRasterBand", band="1")
    Xml.SubElement(band, "ColorInterp").text = "Palette"
    table = Xml.SubElement(band, "ColorTable")
    categories = Xml.SubElement(band, "CategoryNames")
    for value in range(max(names) + 1):
        color = colors[value] if value in names else CLEAR
        parts = {f"c{number}": str(part) for number, part in enumerate(color, start=1)}
        Xml.SubElement(table, "Entry", parts)
        Xml.SubElement(categories, "Category").text = names.get(value, "")
    _add_rows(Xml.SubElement(band, "GDALRasterAttributeTable", tableType="thematic"), names, colors)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _add_rows(table: Xml.Element, names: Mapping[int, str], colors: Mapping[int, Rgba]) -> None:
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        column = Xml.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            Xml.SubElement(column, tag).text = str(text)
    for index, (value, name) in enumerate(names.items()):
        row = Xml.SubElement(table, "Row", index=str(index))
        for cell in (value, name, *colors[value]):
            Xml.SubElement(row, "F").text = str(cell)
