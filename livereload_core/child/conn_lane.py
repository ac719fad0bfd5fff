"""The fast lane: exchanges that repeat are recognised by their bytes and not parsed again.

A server in steady state hears the same few requests and gives answers with the same few heads (a new one each
second, with its date). What the framers have judged once is remembered here; a link that meets it again need
only count. Anything else, and anything that is asked of a connection in the midst of an exchange, unfolds the
lane: the framers are fed what was passed by, and follow from there.

Invariants:
    * Only requests that are one whole head without body, upgrade or pipelining are remembered, and only heads
      of answers whose length is told, that keep the connection and answer such a request.
    * Both tables are bounded: programs meet arbitrary bytes.
"""

from __future__ import annotations

from livereload_core.framing.http1 import RequestHead, ResponseHead

__all__ = ["ANSWERS", "REQUESTS", "learn_answer", "learn_request"]

REQUESTS: dict[bytes, None] = {}
"""Whole requests."""
ANSWERS: dict[bytes, int] = {}
"""Heads of answers, blank line included, and how many bytes follow them."""

_MOST = 512
_LONGEST = 2048


def learn_request(data: bytes, head: RequestHead) -> None:
    """Remember a chunk of the client's, which held this head and nothing else."""
    plain = (
        head.method in (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS")
        and head.keep_alive
        and not (head.content_length or head.chunked or head.expects_continue)
        and b"pgrade" not in head.raw
    )
    if plain and data == head.raw and len(data) <= _LONGEST:
        if len(REQUESTS) >= _MOST:
            REQUESTS.clear()
        REQUESTS[data] = None


def learn_answer(head: ResponseHead) -> None:
    """Remember the head of an answer to such a request."""
    plain = (
        head.status >= 200
        and head.keep_alive
        and not (head.chunked or head.until_close or head.is_event_stream)
        and len(head.raw) <= _LONGEST
    )
    if plain:
        if len(ANSWERS) >= _MOST:
            ANSWERS.clear()
        ANSWERS[head.raw] = head.content_length
