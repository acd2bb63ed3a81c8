"""Templates, style and script of the pages, as package data; holds no code."""
