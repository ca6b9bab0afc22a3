"""Commands on configs: written, shown, listed."""
