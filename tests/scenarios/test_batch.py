"""Many searches from a CSV, on this machine and by REST: an error in a row affects only that row."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main

TEXTS = {
    "lease.txt": ("The notice period of the lease is three months.", "contract"),
    "café.txt": ("The café was paid on Tuesday.", "invoice"),
    "=sum.txt": ('=HYPERLINK("http://example.org";"the pump")', "memo"),
}

Batch = Callable[..., tuple[int, list[dict[str, str]], str]]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mailroom, str]]:
    mailroom = make_mailroom(tmp_path_factory.mktemp("batch"))
    with serving(mailroom) as url:
        root = client(url, mailroom, admin=True)
        for name, (text, label) in TEXTS.items():
            receipt = root.post("/v1/documents", content=name.encode(), params={"path": name, "access": "*"}).json()
            read_and_index(mailroom, receipt["id"], text, label)
        yield mailroom, url
    mailroom.close()


@pytest.fixture(params=["local", "remote"])
def batch(
    request: pytest.FixtureRequest,
    installation: tuple[Mailroom, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Batch:
    """Run a file of queries; returns (exit code, rows of the result, what was printed)."""
    mailroom, url = installation
    options = ["--data", str(mailroom.settings.home)]
    if request.param == "remote":
        with client(url, mailroom, ["user:ann"], ["read"]) as ann:
            options = ["--url", url, "--key", ann.headers["authorization"].split()[1]]

    def run(content: str | bytes, *words: str) -> tuple[int, list[dict[str, str]], str]:
        queries, results = tmp_path / "queries.csv", tmp_path / "results.csv"
        queries.write_bytes(content.encode() if isinstance(content, str) else content)
        results.unlink(missing_ok=True)
        code = main([*options, "search", "--batch", str(queries), "--out", str(results), *words])
        streams = capsys.readouterr()
        assert sorted(file.name for file in tmp_path.iterdir()) in (["queries.csv"], ["queries.csv", "results.csv"])
        rows = list(csv.DictReader(results.open(encoding="utf-8-sig", newline=""))) if results.exists() else []
        return code, rows, streams.out + streams.err

    return run


def test_every_query_has_its_lines(batch: Batch) -> None:
    code, rows, output = batch("query,type\nnotice period,\nnotice,invoice\npaid,invoice|memo\n", "--mode", "lexical")
    assert code == exits.OK, output
    assert [(r["line"], r["query"], r["total"], r["rank"], r["document_name"]) for r in rows] == [
        ("2", "notice period", "1", "1", "lease.txt"),
        ("3", "notice", "0", "", ""),
        ("4", "paid", "1", "1", "café.txt"),
    ]
    assert rows[0]["text"] == TEXTS["lease.txt"][0] and rows[0]["type"] == "contract"
    assert "3 queries, 1 without a hit, 0 failed; 2 passages" in " ".join(output.split())


def test_a_bad_row_is_named_and_harms_no_other(batch: Batch) -> None:
    """Try open and stray quotes, a cell too many, no query, mistakes in a query, an impossible filter, a long query."""
    lines = [
        "query,type,since",
        "lease,,",
        '"lease,,',
        '"notice period" lease,,',
        "notice,contract,,more",
        ",contract,",
        "(((,,",
        "title:,,",
        "lease,,yesterday",
        "lease " + "x" * 150_000 + ",,",
        "lease " * 900 + ",,",
        '"""notice period""",contract,2020-01-01',
    ]
    code, rows, output = batch("\n".join(lines), "--mode", "lexical")
    assert code == exits.SOME_FAILED
    failed = {int(row["line"]): row["error"] for row in rows if row["error"]}
    assert set(failed) >= {3, 4, 5, 6, 9, 10, 11}
    assert all(f"line {line}: " in " ".join(output.split()) for line in failed)
    assert [row["document_name"] for row in rows if row["line"] in ("2", "12")] == ["lease.txt", "lease.txt"]
    assert "queries.csv" in output and "Traceback" not in output


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_files_as_spreadsheets_write_them(batch: Batch, encoding: str, separator: str) -> None:
    content = "\r\n".join((f"Query{separator}type", f"café{separator}invoice", "", separator))
    code, rows, output = batch(content.encode(encoding), "--mode", "lexical")
    assert code == exits.OK, output
    assert [(row["query"], row["document_name"]) for row in rows] == [("café", "café.txt")]


def test_no_cell_becomes_a_formula(batch: Batch) -> None:
    code, rows, _ = batch("query\n+pump -lease\n", "--mode", "lexical")
    assert code == exits.OK
    assert [(r["query"], r["document_name"], r["path"]) for r in rows] == [("'+pump -lease", "'=sum.txt", "'=sum.txt")]
    assert rows[0]["text"].startswith("'=HYPERLINK")
    assert float(rows[0]["score"])


def test_options_apply_to_every_row_and_a_cell_overrides_them(batch: Batch) -> None:
    _, rows, _ = batch("query,type\nthe notice paid,\nthe notice paid,contract\n", "--type", "invoice")
    assert [(row["line"], row["document_name"]) for row in rows] == [("2", "café.txt"), ("3", "lease.txt")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"query\n", "no query below it"),
        (b"type\ninvoice\n", "no column 'query'"),
        (b"query,colour,flavour\nx,red,\n", "'colour', 'flavour'; there are query, type"),
        (b"query,query\nx,y\n", "more than once: query"),
        (b"query\n\x81\n", "unknown encoding"),
    ],
)
def test_an_invalid_file_leaves_no_result(batch: Batch, content: bytes, message: str) -> None:
    code, rows, output = batch(content)
    assert (code, rows) == (exits.USAGE, [])
    assert message in output and "error: bad-request" in output


def test_the_summary_as_json(batch: Batch) -> None:
    code, _, output = batch('query\nlease\n,\n\n"x\n', "--json")
    assert code == exits.SOME_FAILED
    summary = json.loads(output[: output.rindex("}") + 1])
    assert (summary["queries"], [failure["line"] for failure in summary["failed"]]) == (2, [5])


def test_an_error_outside_the_rows_ends_the_run(
    installation: tuple[Mailroom, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries, results = tmp_path / "queries.csv", tmp_path / "results.csv"
    queries.write_text("query\nlease\n")
    results.write_text("of yesterday")
    words = ["search", "--batch", str(queries), "--out"]
    assert main(["--url", installation[1], "--key", "wrong", *words, str(results)]) == exits.ERROR
    assert results.read_text() == "of yesterday"
    local = ["--data", str(installation[0].settings.home), *words]
    assert main([*local, str(tmp_path / "no" / "where.csv")]) == exits.USAGE
    assert main([*local, str(queries)]) == exits.USAGE
    assert main([*local[:-1]]) == exits.USAGE
    assert main([*local, str(results), "--explain"]) == exits.USAGE
    assert "Traceback" not in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["queries.csv", "results.csv"]
