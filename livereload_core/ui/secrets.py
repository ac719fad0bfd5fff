"""What is not shown of state unless asked for: by what it is called, and by what it looks like.

Invariants:
    * It errs on the safe side: a count of tokens is hidden, too. ``--reveal`` shows all.
    * A name decides about everything below it.
"""

from __future__ import annotations

import itertools
import re

__all__ = ["HIDDEN", "is_secret_name", "without_secrets"]

HIDDEN = "<hidden>"

_WORDS = frozenset(
    (
        *("password", "passwords", "passwd", "passphrase", "passcode", "pwd", "pass", "secret", "secrets"),
        *("token", "tokens", "jwt", "jwts", "bearer", "otp", "totp", "nonce", "csrf", "xsrf", "salt"),
        *("auth", "authorization", "authentication", "credential", "credentials", "cred", "creds"),
        *("cookie", "cookies", "apikey", "apikeys", "sessionid", "sessid", "sid", "phpsessid", "privatekey"),
    )
)
_PAIRS = frozenset(
    (first, second)
    for first in ("api", "access", "private", "secret", "signing", "encryption", "auth", "session", "master")
    for second in ("key", "keys", "id")
    if second != "id" or first == "session"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_64 = "A-Za-z0-9/+"
_PATTERNS = (
    # JSON Web Tokens (RFC 7519): both parts begin with {"
    r"(?<![\w-])eyJ[\w-]{5,}\.eyJ[\w-]{2,}\.[\w-]*",
    # ids of AWS keys, and the keys: forty characters of base64
    r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b",
    rf"(?<![{_64}=])(?=[{_64}]{{0,39}}[a-z])(?=[{_64}]{{0,39}}[A-Z])[{_64}]{{40}}(?![{_64}=])",
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
    # user:pass@ in URLs
    r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)",
    # Authorization (RFC 6750, RFC 7617)
    r"\b(?i:Bearer|Basic)\s+[\w.~+/=-]{8,}",
    # GitHub, GitLab, Slack, Stripe and those that write keys alike, Google
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,})",
    r"\b(?:sk|rk|pk)[-_](?:live|test|proj|ant)[-_][\w-]{10,}|\bsk-[A-Za-z0-9]{20,}",
    r"\bAIza[\w-]{35}",
)
_VALUES = re.compile("|".join(_PATTERNS))
_NAMED = re.compile(r"(?<![\w.-])([\w.-]{1,64})=([^\s&;,\"'<>]+)")
"""``name=value``, as in the query of a URL, a cookie, or the parameters of a database. The name begins where
a word does, or a long text would be looked at again from each of its letters."""


def is_secret_name(name: str) -> bool:
    """Whether what is called so is not to be shown: ``db_password``, ``apiKey``, ``X-Auth-Token``."""
    words = [word.lower() for word in _WORD.findall(name)]
    return any(word in _WORDS for word in words) or any(pair in _PAIRS for pair in itertools.pairwise(words))


def without_secrets(text: str) -> str:
    """Return a text with what looks like a secret in it, or is called one, replaced."""
    return _NAMED.sub(_hide_named, _VALUES.sub(HIDDEN, text))


def _hide_named(found: re.Match[str]) -> str:
    return f"{found[1]}={HIDDEN}" if is_secret_name(found[1]) else found[0]
