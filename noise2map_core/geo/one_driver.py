"""Reads a file of polygons by one driver of GDAL: a program of its own, started by `vectors`.

GDAL chooses the driver by what a file looks like, and pyogrio cannot be told which to take: here
all others are left out when GDAL starts, by OGR_SKIP in the environment.
"""

import sys

import pyarrow as pa
import pyogrio
from pyogrio.errors import DataSourceError
from pyogrio.raw import read_arrow


def main(driver: str, path: str) -> None:
    """Write the table as an Arrow stream, with the CRS and the name of the geometries beside."""
    if list(pyogrio.list_drivers()) != [driver]:
        sys.exit(f"GDAL would not be held to its driver {driver}")
    try:
        meta, table = read_arrow(path)
    except (DataSourceError, ValueError) as error:
        sys.exit(" ".join(str(error).split()))
    about = {"crs": meta["crs"] or "", "geometry": meta["geometry_name"] or "wkb_geometry"}
    table = table.replace_schema_metadata(about)
    with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
        stream.write_table(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
