"""Networks that are trained, for the tables and pictures of the documentation."""
