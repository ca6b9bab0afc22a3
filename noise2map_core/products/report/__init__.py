"""The report: one HTML page, for any screen, that needs no network.

`page.html`, `page.css` and `page.js` are put together by `page.py`; edit them by hand. `html.py`,
`frame.html` and `base.css` serve the other pages, too.
"""
