"""Pages and cards: HTML that needs no network, Markdown, and the charts and pictures inside.

`templates/` says how they look; what they say are facts, which the rooms above gather.
"""
