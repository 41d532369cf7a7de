"""One campaign a file, each against a reference; `python -m validation` runs them for docs/validation.md."""
