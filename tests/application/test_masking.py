"""Whatever a task prints, and in whatever pieces it arrives, no secret leaves."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_application.masking import MASK, MaskedStream, Masking

# Few letters, so that texts hold secrets, halves of secrets and secrets that overlap.
_LETTERS = st.sampled_from("ab\n/ü")
_SECRETS = st.lists(st.text(_LETTERS, min_size=6, max_size=9), min_size=1, max_size=3)


@st.composite
def _pieces(draw: st.DrawFn) -> tuple[list[str], list[bytes]]:
    secrets = draw(_SECRETS)
    parts = draw(st.lists(st.one_of(st.sampled_from(secrets), st.text(_LETTERS, max_size=7)), max_size=8))
    data = "".join(parts).encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return secrets, [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _fed(masking: Masking, pieces: list[bytes]) -> bytes:
    stream = MaskedStream(masking)
    return b"".join([*(stream.feed(piece) for piece in pieces), stream.feed(b"", last=True)])


@given(_pieces())
def test_no_secret_survives_any_chunking(drawn: tuple[list[str], list[bytes]]) -> None:
    secrets, pieces = drawn
    shown = _fed(Masking(secrets), pieces)
    hidden = [line for secret in secrets for line in (secret, *secret.splitlines()) if len(line.encode()) >= 6]
    assert not [secret for secret in hidden if secret.encode() in shown]


@given(_pieces())
def test_the_pieces_make_no_difference(drawn: tuple[list[str], list[bytes]]) -> None:
    secrets, pieces = drawn
    masking = Masking(secrets)
    assert _fed(masking, pieces) == masking.data(b"".join(pieces))


@given(_pieces())
def test_what_is_no_secret_stays(drawn: tuple[list[str], list[bytes]]) -> None:
    _, pieces = drawn
    assert _fed(Masking(["an unrelated value"]), pieces) == b"".join(pieces)


@given(_pieces())
def test_bytes_that_belong_to_no_secret_are_all_shown(drawn: tuple[list[str], list[bytes]]) -> None:
    secrets, pieces = drawn
    masking, data = Masking(secrets), b"".join(pieces)
    hidden = {place for start, end in masking.found(data) for place in range(start, end)}
    visible = bytes(byte for place, byte in enumerate(data) if place not in hidden)
    assert masking.data(data).replace(MASK.encode(), b"") == visible


@given(
    st.text(min_size=6, max_size=40).filter(lambda text: "*" not in text), st.binary(max_size=5), st.binary(max_size=5)
)
def test_base64_of_a_text_around_a_secret_does_not_tell_it(secret: str, before: bytes, after: bytes) -> None:
    data = secret.encode(errors="surrogatepass")
    encoded = base64.b64encode(before + data + after)
    shown = Masking([secret]).data(encoded)
    assert MASK.encode() in shown
    # What is left of it are the characters at the edges, which the neighbours share.
    assert len(shown) <= len(encoded) - len(data) * 8 // 6 + 2 + len(MASK)


@pytest.mark.parametrize(
    "leak",
    [
        'hunter2/ü\\"x',
        quote('hunter2/ü\\"x', safe=""),
        quote('hunter2/ü\\"x', safe="").lower(),
        'hunter2/ü\\"x'.encode().hex(),
        'hunter2/ü\\"x'.encode().hex().upper(),
        json.dumps('hunter2/ü\\"x'),
        json.dumps('hunter2/ü\\"x', ensure_ascii=False),
        'hunter2/ü\\"x'.encode()[::-1].decode("latin-1"),
    ],
)
def test_a_secret_is_hidden_in_each_of_its_forms(leak: str) -> None:
    shown = Masking(['hunter2/ü\\"x']).data(b"<" + leak.encode("latin-1" if "\xbc" in leak else "utf-8") + b">")
    assert shown in (b"<***>", b'<"***">')


def test_each_line_of_a_key_is_a_secret() -> None:
    key = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nab\n-----END KEY-----"
    assert Masking([key]).text("a MIIEpAIBAAKCAQEA b ab c") == "a *** b ab c"


def test_a_short_secret_is_not_hidden() -> None:
    assert Masking(["true", ""]).text("true story") == "true story"


def test_overlapping_secrets_leave_no_rest() -> None:
    assert Masking(["abcdef", "defghi"]).text("<abcdefghi>") == "<***>"


def test_a_line_is_shown_at_once_even_where_secrets_are_long() -> None:
    stream = MaskedStream(Masking(["x" * 5000, "first line\nsecond line"]))
    assert stream.feed(b"hello world\n") == b"hello world\n"


def test_only_what_may_become_a_secret_is_held_back() -> None:
    stream = MaskedStream(Masking(["hunter2"]))
    assert stream.feed(b"password: hunt") == b"password: "
    assert stream.feed(b"ing\n") == b"hunting\n"


def test_outputs_are_masked_in_values_names_and_numbers() -> None:
    masking = Masking(["hunter2", "12345678"])
    value = {"a hunter2": ["x", {"y": "hunter2!"}], "n": 12345678, "m": 1234, "t": True, "none": None}
    assert masking.value(value) == {"a ***": ["x", {"y": "***!"}], "n": "***", "m": 1234, "t": True, "none": None}


@given(st.integers(4, 12), st.integers(4, 12))
def test_a_piece_of_a_text_shows_no_half_of_a_secret(head: int, tail: int) -> None:
    secret = "correct-horse"
    shown = Masking([secret]).cut_text(f"{secret[-head:]} in between {secret[:tail]}")
    assert shown == "*** in between ***"


def test_without_secrets_nothing_changes() -> None:
    masking = Masking([])
    output = {"a": [1, "b"]}
    assert masking.hides_nothing
    assert masking.value(output) is output
    assert MaskedStream(masking).feed(b"abc") == b"abc"
