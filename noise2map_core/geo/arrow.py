"""Tables of Arrow that anybody may have made."""

import pyarrow as pa

PLAIN_EXTENSIONS = ("geoarrow.", "arrow.")
"""Extension types of Arrow that hold numbers and text."""


def pickled_columns(schema: pa.Schema) -> list[str]:
    """Columns that are, or hold, what a registered extension type of Arrow would unpickle.

    Ray registers one; any process that has imported Ray Data would run what such a column holds.
    """
    return [field.name for field in schema if _is_extended(field.type)]


def _is_extended(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        plain = kind.extension_name.startswith(PLAIN_EXTENSIONS)
        return not plain or _is_extended(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _is_extended(kind.value_type)
    return any(_is_extended(kind.field(index).type) for index in range(kind.num_fields))
