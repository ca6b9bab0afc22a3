"""The report of a training: one HTML page, for any screen, that needs no network and no script.

`evidence.py` gathers what it says, `page.py` puts it together with `page.html` and `page.css`.
"""
