"""From tiles of logits to a mosaic: blending, the ledger, the tiles of the store."""
