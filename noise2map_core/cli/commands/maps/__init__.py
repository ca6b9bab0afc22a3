"""Commands on finished maps: shown and handed on."""
