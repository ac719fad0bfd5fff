"""waitress, which binds by itself.

livecore run playground/self_binding/waitress_serve.py -- 8000
python playground/self_binding/waitress_serve.py 8000
"""

from __future__ import annotations

import sys

import waitress
from wsgi_app import app

if __name__ == "__main__":
    waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
