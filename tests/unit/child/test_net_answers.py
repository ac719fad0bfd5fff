from __future__ import annotations

import pytest

from livereload_core.child.net_answers import HEAD_LIMIT, is_complete, is_upgrade


def judge(answer: bytes, *, to_head: bool = False) -> bool:
    return is_complete(answer[:HEAD_LIMIT], len(answer), answer[-7:], to_head=to_head)


WHOLE = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
]


@pytest.mark.parametrize("answer", WHOLE)
def test_a_whole_answer_is_complete_and_none_of_its_beginnings_is(answer: bytes) -> None:
    assert judge(answer)
    assert not any(judge(answer[:end]) for end in range(len(b"HTTP/1."), len(answer)))


def test_an_answer_to_head_has_no_body() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert judge(answer, to_head=True)
    assert not judge(answer)


def test_an_answer_without_length_lasts_until_the_server_closes() -> None:
    assert not judge(b"HTTP/1.0 200 OK\r\n\r\neverything and more")


def test_100_continue_is_not_the_answer() -> None:
    assert not judge(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_a_chunk_that_looks_like_the_last_one_from_afar_is_not() -> None:
    assert not judge(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n10\r\n\r\n")


def test_other_protocols_are_whole_when_the_server_spoke_last() -> None:
    assert judge(b"\x16\x03\x03\x00\x7a")
    assert judge(b"+OK\r\n")


def test_a_head_beyond_the_limit_is_given_up() -> None:
    assert judge(b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_LIMIT)


def test_only_101_is_an_upgrade() -> None:
    assert is_upgrade(WHOLE[-1])
    assert not any(is_upgrade(answer) for answer in WHOLE[:-1])
