"""The messages between the parent and one child: frozen records that become JSON.

Direction and answers (``+fd``: one file descriptor travels along)::

    parent                                   child
      │ ◀──────────────────────────── Hello ── │   exec'd, idle: a spare
      │ ── Warm ─────────────────────────────▶ │   third-party modules to import ahead
      │ ◀─────────────────────────── Warmed ── │   it has
      │ ── Activate (+fd sources) ───────────▶ │   becomes the candidate: import the user's code
      │ ◀──────────── Prepared +fd | Failed ─── │
      │ ── Export ──────────▶ active            │   PRECOPY, while it serves
      │ ◀── Exported +fd | Failed ── active     │
      │ ── Precopy +fd, Ahead +fds ──────────▶ │   decode, migrate, validate on trial
      │ ◀──────────────── Precopied | Failed ── │
      │ ── Quiesce ─▶ active ── Quiesced ──▶    │
      │ ── Freeze ──▶ active ── Frozen +fd ─▶   │   blocked until Resume or Retire
      │ ── Rehydrate (+fd) ──────────────────▶ │   fill the state, run the user's start-up
      │ ── Connections +fds ─────────────────▶ │   established ones, to adopt after Commit
      │ ◀── Adopted, then Ready | Failed ────── │
      │ ── Commit ───────────────────────────▶ │   accept from now on
      │ ◀─────── Serving, Sources +fd, Proved ── │
      │ ── Retire ──▶ old, which drains and exits

    at any time from the child: FindListener → ListenerFound, OpenListeners → ListenersOpened,
    NewListener +fd, Checkpoint +fd, Finished (+fd), LateImport, Modules, ReloadRequest, Terminal, Warn,
    Opened +fd, Ended, HandedOver +fd, Settled, FindExit → ExitFound, Closed

Beside a snapshot travel the fds of sockets and files in it. What one frame cannot take goes ahead, with
``MoreFds``, which the channels put in and take out.

``attempt`` numbers the attempt to reload that a message belongs to, so that an answer that comes after
its attempt was given up is recognised and dropped.
"""

from __future__ import annotations

import json
from typing import Any

from livereload_core.errors import ProtocolViolationError
from livereload_core.facts import Failure, RootFate, RootReport
from livereload_core.wire import to_child, to_parent
from livereload_core.wire.kinds import Message, values_of
from livereload_core.wire.to_child import *  # noqa: F403 - both halves of the dialogue are told as one
from livereload_core.wire.to_parent import *  # noqa: F403

__all__ = ["Message", "MoreFds", "decode", "encode"]
__all__ += to_child.__all__
__all__ += to_parent.__all__


class MoreFds(Message):
    """Fds of the message that follows, in either direction."""


def _default(value: object) -> Any:
    if isinstance(value, RootReport):
        return [value.key, value.fate.value, value.detail, value.remedy]
    if isinstance(value, Failure):
        return [value.phase, value.reason, value.traceback, list(value.files)]
    raise TypeError(f"no JSON for {type(value).__name__}")


def encode(message: Message) -> bytes:
    """Return the payload of a frame for ``message``."""
    # surrogateescape'd paths are legal file names: ensure_ascii keeps them through UTF-8
    return json.dumps(
        [type(message).__name__, values_of(message)], default=_default, separators=(",", ":")
    ).encode()


def decode(payload: bytes) -> Message:
    """Return the message that ``payload`` holds.

    Raises:
        ProtocolViolationError: not JSON, an unknown type, or fields that the type does not have.
    """
    try:
        name, fields = json.loads(payload)
        kind = Message.kinds[name]
        if fields.get("failure"):
            phase, reason, traceback, files = fields["failure"]
            fields["failure"] = Failure(phase, reason, traceback, tuple(files))
        if name in _WITH_ROOTS:
            fields["roots"] = tuple(RootReport(k, RootFate(f), d, r) for k, f, d, r in fields["roots"])
        for key, value in fields.items():
            if isinstance(value, list):
                fields[key] = tuple(value)
        return kind(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolViolationError(f"not a message of this version: {payload[:80]!r} ({error})") from error


_WITH_ROOTS = frozenset({"Exported", "Precopied", "Ready"})
