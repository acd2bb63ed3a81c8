"""How far outputs are from the source's own, and whether that is good enough; knows arrays and limits, no files."""
