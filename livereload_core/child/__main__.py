"""Entry of every child: ``python -m livereload_core.child PARENT_PID CONTROL_FD``; not for people."""

from __future__ import annotations

import gc
import sys

from livereload_core.child.warming import GC_WHILE_WARMING

if __name__ == "__main__":
    gc.set_threshold(*GC_WHILE_WARMING)
    from livereload_core.child.spare import main  # what takes most of the time of the boot

    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
