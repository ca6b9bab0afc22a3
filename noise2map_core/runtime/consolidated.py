"""The documents of all nodes of a Zarr group in the group's own: by these a reader that cannot list
a store, as over plain HTTP, knows what there is."""

import json
from collections.abc import Mapping

CONSOLIDATED = "consolidated_metadata"
"""Field of a group's document, as zarr writes it. The specification of Zarr 3 does not have it yet;
readers that do not know it pass over it."""


def consolidated(documents: Mapping[str, bytes]) -> bytes:
    """The document of a group with those of all nodes below it. `documents`: by path, the group's
    own is "". The same bytes for the same documents."""
    root = json.loads(documents[""])
    below = {path: json.loads(documents[path]) for path in sorted(documents) if path}
    root[CONSOLIDATED] = {"kind": "inline", "must_understand": False, "metadata": below}
    return json.dumps(root, separators=(",", ":")).encode()
