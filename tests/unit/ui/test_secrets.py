"""What is hidden, and what is not."""

from __future__ import annotations

import time

import pytest

from livereload_core.ui.secrets import HIDDEN, is_secret_name, without_secrets


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "PASSWORD",
            "db_password",
            "dbPassword",
            "user-passwd",
            "'password'",
            "passphrase",
            "pwd",
        ),
        *("secret", "client_secret", "SECRET_KEY", "secretKey", "_secret_value"),
        *("token", "access_token", "X-Auth-Token", "csrfToken", "csrf", "refreshToken", "jwt", "tokens"),
        *("api_key", "apiKey", "APIKey", "apikey", "X-API-Key", "API_KEYS", "access_key", "accessKeyId"),
        *("authorization", "Authorization", "auth", "basic_auth", "credentials"),
        *(
            "cookie",
            "Set-Cookie",
            "cookies",
            "session_id",
            "sessionid",
            "sessionId",
            "SESSION-ID",
            "session_key",
        ),
        *("private_key", "privateKey", "ssh_private_key", "signing_key"),
    ],
)
def test_a_name_that_says_so_is_hidden(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("author", "authors", "passenger", "compass", "tokenizer", "secretary", "sessions", "key", "keys"),
        *("keyboard", "monkey", "user", "users", "primary_key", "foreign_key", "cookiecutter", "id", "n", ""),
        *("apikeyboard", "privates", "public_key", "session", "user_id", "[0]", "'name'"),
    ],
)
def test_a_name_that_says_nothing_of_the_kind_is_shown(name: str) -> None:
    assert not is_secret_name(name)


_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
_PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (_JWT, HIDDEN),
        (f"see {_JWT}, there", f"see {HIDDEN}, there"),
        ("AKIAIOSFODNN7EXAMPLE", HIDDEN),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", HIDDEN),
        (f"a\n{_PEM}\nb", f"a\n{HIDDEN}\nb"),
        (_PEM[:40], HIDDEN),
        ("postgres://ann:hunter2@db:5432/shop", f"postgres://{HIDDEN}@db:5432/shop"),
        ("redis://:hunter2@db", f"redis://{HIDDEN}@db"),
        ("https://h/?api_key=abc123&page=2", f"https://h/?api_key={HIDDEN}&page=2"),
        ("host=db password=hunter2 user=ann", f"host=db password={HIDDEN} user=ann"),
        ("theme=dark; sessionid=abc123; a=b", f"theme=dark; sessionid={HIDDEN}; a=b"),
        ("Bearer abcdef123456", HIDDEN),
        ("Authorization: Basic YW5uOmh1bnRlcjI=", f"Authorization: {HIDDEN}"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", HIDDEN),
        ("xoxb-123456789012-abcdef", HIDDEN),
        ("sk_live_0123456789abcdef", HIDDEN),
        ("sk-proj-0123456789abcdef", HIDDEN),
        ("AIzaSyA0123456789abcdefghijklmnopqrstuv", HIDDEN),
    ],
)
def test_a_value_that_looks_like_one_is_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "hello", "https://example.org/a?b=c@d", "ann@example.org", "postgres://db:5432/shop"),
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",  # a commit, or the SHA-1 of a file
        "550e8400-e29b-41d4-a716-446655440000",
        "the bearer of this letter",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "eyJ is how they begin",
    ],
)
def test_other_values_are_shown(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ",
        "aA1/",
        "-----BEGIN PRIVATE KEY-----",
        "://a:",
        "Bearer ",
        "sk-",
        "A" * 39,
        "a=",
        "token=x ",
        "=;",
    ],
)
def test_no_text_takes_long_to_look_at(piece: str) -> None:
    """Time grows with the length and not with its square: ten times the text, a hundred times at most."""
    times = []
    for count in (2_000, 20_000):
        text = piece * count
        began = time.process_time()
        without_secrets(text)
        times.append(time.process_time() - began + 0.002)
    assert times[1] < 40 * times[0]
