"""Multipart bodies in pieces of every size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Refused
from pipeline.questions import Caller
from pipeline.rights import Access
from workers.api.upload import MultipartReader, UploadForm, arrival_of, boundary_of

ANN = Access(Caller(("user:ann",)))


def body(content: bytes, fields: dict[str, str], file_name: str = "a.txt") -> bytes:
    parts = [f'--B\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in fields.items()]
    head = f'--B\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\n'.encode()
    return head + content + b"\r\n" + b"".join(parts) + b"--B--\r\n"


@settings(deadline=None)
@given(content=st.binary(max_size=300), step=st.integers(1, 64))
def test_the_file_comes_out_as_it_went_in(content: bytes, step: int) -> None:
    form = UploadForm()
    reader, sent = MultipartReader("B", form), body(content, {"labels": "x, y", "metadata": '{"a": "b"}'})
    pieces = [piece for at in range(0, len(sent), step) for piece in reader.feed(sent[at : at + step])]
    reader.finish()
    assert b"".join(pieces) == content
    record = arrival_of(form, ANN, frozenset())
    assert (record.path, record.labels, dict(record.metadata)) == ("a.txt", ("x", "y"), {"a": "b"})
    assert record.access == ("user:ann",)


def test_a_body_that_breaks_off_is_refused() -> None:
    reader = MultipartReader("B", UploadForm())
    reader.feed(body(b"content", {})[:-6])
    with pytest.raises(Refused, match="last boundary"):
        reader.finish()


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(3, 300))
def test_a_form_is_refused_wherever_it_is_cut(cut: int) -> None:
    """A form without its last boundary may lack a field, such as the list of those who may read the document."""
    whole, form = body(b"content", {"labels": "x", "access": "user:ann"}), UploadForm()
    reader = MultipartReader("B", form)
    reader.feed(whole[:-cut])
    with pytest.raises(Refused, match=r"last boundary"):
        reader.finish()


def test_an_endless_header_is_refused() -> None:
    reader = MultipartReader("B", UploadForm())
    with pytest.raises(Refused, match="malformed"):
        for piece in [b'--B\r\nContent-Disposition: form-data; name="file"; x="', *[b"x" * 1000] * 100]:
            reader.feed(piece)


def test_a_form_of_endless_parts_is_refused() -> None:
    reader = MultipartReader("B", UploadForm())
    with pytest.raises(Refused, match="parts"):
        reader.feed(b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' * 100)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"path": "../../etc/passwd"}, "path"),
        ({"path": "/etc/passwd"}, "path"),
        ({"path": "a\x00b"}, "path"),
        ({"source": "tray"}, "source"),
        ({"metadata": '{"nesting": "9"}'}, "metadata"),
        ({"metadata": "[1]"}, "metadata"),
        ({"metadata": "{"}, "metadata"),
        ({"unheard": "of"}, "unheard"),
        ({"labels": "x" * 300}, "labels"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields: dict[str, str], word: str) -> None:
    form = UploadForm({name: [value] for name, value in fields.items()}, "a.txt", has_file=True)
    with pytest.raises(Refused, match=word):
        arrival_of(form, ANN, frozenset({"tray"}))


@pytest.mark.parametrize("name", ["C:\\temp\\a.txt", "../../a.txt", "x/y/a.txt"])
def test_a_client_s_folders_are_not_taken_over(name: str) -> None:
    assert arrival_of(UploadForm({}, name, has_file=True), ANN, frozenset()).path == "a.txt"


def test_a_boundary_is_bounded() -> None:
    assert boundary_of("application/pdf") is None
    assert boundary_of("multipart/form-data; boundary=abc") == "abc"
    with pytest.raises(Refused):
        boundary_of("multipart/form-data; boundary=" + "x" * 100)
