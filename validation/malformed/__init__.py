"""Malformed arguments of every public function, and a judge of what the library answers."""
