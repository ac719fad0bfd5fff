"""HTTP/1.x connections as two streams that pass by: requests one way, responses the other."""

from __future__ import annotations

from livereload_core.framing.heads import RequestHead, ResponseHead, with_header, without_header
from livereload_core.framing.requests import RequestFramer
from livereload_core.framing.responses import ResponseFramer, simple_response_complete

__all__ = [
    "RequestFramer",
    "RequestHead",
    "ResponseFramer",
    "ResponseHead",
    "simple_response_complete",
    "with_header",
    "without_header",
]
