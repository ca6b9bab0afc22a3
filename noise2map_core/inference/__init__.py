"""Where pixels, networks and maps meet, without Ray."""
