"""uvicorn.run on uvloop, which binds in Python and listens in C.

livecore run playground/self_binding/uvloop_run.py -- 8000
python playground/self_binding/uvloop_run.py 8000
"""

from __future__ import annotations

import sys

import uvicorn
from asgi_app import app

if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", log_level="warning")
