"""Facts to pages to HTML; knows how to read traces, never how to make them."""
