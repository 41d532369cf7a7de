"""``python -m jaxrnn``."""

import sys

from jaxrnn.cli import main

__all__: list[str] = []

sys.exit(main())
