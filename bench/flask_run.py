"""A program: ``flask`` as it is where nobody has installed watchdog, which Flask does not ask for.

Another peer brings watchdog into the environment of the benchmark. Flask would then watch all of
``sys.path`` with it, the standard library and site-packages included, and where the kernel's queue of
events overflows over that, it never sees an edit. By itself Flask looks at the times of all files once a
second.

A script, run by its path, because Flask's reloader starts the same script again.
"""

from __future__ import annotations

import sys

# None in this place makes every import of it fail, as if it were not there.
sys.modules["watchdog"] = None  # type: ignore[assignment]
# The folder of this script; the app's own is put there by Flask.
del sys.path[0]

from flask.cli import main  # noqa: E402 - it looks for watchdog when it is imported

if __name__ == "__main__":
    main()
