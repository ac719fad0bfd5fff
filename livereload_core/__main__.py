"""``python -m livereload_core``: the command ``livecore`` where its script is not on the path."""

from __future__ import annotations

import sys

from livereload_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
