"""Entry of every child: ``python -m livereload_core.child PARENT_PID CONTROL_FD``; not for people."""

from __future__ import annotations

import sys

from livereload_core.child.spare import main

if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
