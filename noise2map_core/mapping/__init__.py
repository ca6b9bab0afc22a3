"""From tiles of logits to maps: blending, mosaic, ledger, products."""
