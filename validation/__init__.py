"""One file a claim about accuracy, each against exact answers; `python -m validation` runs all of them."""
