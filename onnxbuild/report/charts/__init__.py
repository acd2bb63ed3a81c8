"""Small pure functions from numbers to inline SVG; they know no facts and no page.

Charts are as wide as their cell: x is in percent, y and type in pixels, so that text never shrinks on a phone.
"""
