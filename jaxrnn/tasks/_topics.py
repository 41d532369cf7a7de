"""The text that is on every machine with CPython."""

from __future__ import annotations

__all__ = ["python_topics"]


def python_topics() -> tuple[str, str]:
    """(name, characters) of CPython's language reference, as ``help()`` prints it."""
    from pydoc_data.topics import topics

    return "pydoc_data.topics of CPython", "\n".join(topics[name] for name in sorted(topics))
