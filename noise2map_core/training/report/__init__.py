"""The report of a training: one HTML page, for any screen, that needs no network and no script.

`evidence.py` gathers what it shows, `facts.py` puts it in words, `writer.py` writes it.
"""
