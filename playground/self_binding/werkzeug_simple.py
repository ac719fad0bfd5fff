"""werkzeug's run_simple, which binds by itself.

livecore run playground/self_binding/werkzeug_simple.py -- 8000
python playground/self_binding/werkzeug_simple.py 8000
"""

from __future__ import annotations

import logging
import sys

from werkzeug.serving import run_simple
from wsgi_app import app

if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line a request would hide what livecore says
    run_simple("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000, app, threaded=True)
