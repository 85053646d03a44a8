"""Rules as data: their conditions, their mistakes, and what no document can do to them."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.documents import Destination, Document, Prediction, Routing, Stage, State
from pipeline.errors import Misconfigured
from pipeline.names import MAX_PART_BYTES, fill_template, safe_part
from pipeline.route import route
from pipeline.rules import load_rules, parse_rules

DOCUMENT = Document(
    id="d1", number=1, tenant="default", content_hash="ab" * 32, size=9, name="bill.pdf", source="tray",
    path="in/bill.pdf", access=("*",), labels=(), state=State.PROCESSING, stage=Stage.ROUTE,
    received_at=1_790_000_000.0, media_type="application/pdf", pages=3, flags=("ocr",),
)  # fmt: skip
CONFIDENT = Prediction("invoice", 0.9, "letter", 0.05, 0.5, "m@1", "0" * 64)
NOT_CONFIDENT = replace(CONFIDENT, probability=0.4)
MAIL = {"from": "Jane Doe <jane@billing.acme.example>", "department": "Sales"}
TEXT = "Please pay the TOTAL\n amount of 42 EUR, order AB-1234."


def decide(
    rules: str, prediction: Prediction | None = CONFIDENT, document: Document = DOCUMENT, text: str = TEXT
) -> Routing:
    return route(parse_rules(rules), prediction, document, text, MAIL)


def rule(when: str, more: str = "") -> str:
    return f'[[rule]]\nname = "r"\nwhen = {{ {when} }}\ndestinations = ["folder:x/{{name}}"]\n{more}\n'


@pytest.mark.parametrize(
    "when",
    [
        'label = "invoice"', 'label = ["letter", "inv*"]', "min_score = 0.9", "max_score = 0.9", 'path = "IN/*"',
        'source = "tray"', 'sender = "*@billing.acme.example"', 'sender = "acme.example"', 'text = "total amount"',
        'text = ["nowhere", "42 eur"]', r"pattern = '\bAB-[0-9]{4}\b'", 'media_type = "application/*"', 'flag = "ocr"',
        "min_pages = 3, max_pages = 3", 'metadata = { department = "sal*" }', 'label = "invoice", text = "pay"',
    ],
)  # fmt: skip
def test_a_condition_that_holds(when: str) -> None:
    assert decide(rule(when)).rules == ("r",)


@pytest.mark.parametrize(
    "when",
    [
        'label = "letter"', "min_score = 0.91", "max_score = 0.89", 'path = "out/*"', 'source = "api"',
        'sender = "example.org"', 'sender = "cme.example"', 'sender = "jane"', 'text = "invoice"',
        "pattern = 'AB-[0-9]{5}'", 'flag = "macros"', "min_pages = 4", 'metadata = { department = "hr" }',
        'metadata = { absent = "x" }', 'label = "invoice", text = "nowhere"',
    ],
)  # fmt: skip
def test_a_condition_that_does_not_hold(when: str) -> None:
    assert decide(rule(when)).rules == ("default",)


def test_a_rule_does_not_match_if_its_exception_holds() -> None:
    assert decide(rule('label = "invoice"', 'unless = { text = "pay" }')).rules == ("default",)
    assert decide(rule('label = "invoice"', 'unless = { text = "pay", flag = "macros" }')).rules == ("r",)


def test_first_match_and_all_matches() -> None:
    two = rule('label = "invoice"') + '[[rule]]\nname = "s"\ndestinations = ["webhook:erp", "folder:x/{name}"]\n'
    first = decide('mode = "first"\n' + two)
    assert (first.rules, first.destinations) == (("r",), (Destination("folder", "x/{name}"),))
    every = decide('mode = "all"\n' + two)
    assert every.rules == ("r", "s")
    assert every.destinations == (Destination("folder", "x/{name}"), Destination("webhook", "erp"))


@pytest.mark.parametrize(
    ("prediction", "reason"), [(CONFIDENT, None), (NOT_CONFIDENT, "low-confidence"), (None, "no-prediction")]
)
def test_only_a_prediction_above_threshold_routes(prediction: Prediction | None, reason: str | None) -> None:
    assert route(load_rules(None), prediction, DOCUMENT, TEXT, {}).review_reason == reason


def test_a_trusted_rule_needs_no_prediction_and_a_sensitive_one_needs_a_person() -> None:
    assert decide(rule('path = "in/*"', "trust = true"), None).review_reason is None
    assert decide(rule('path = "in/*"', 'review = "sensitive"')).review_reason == "sensitive"


def test_a_text_cannot_evade_a_sensitive_rule() -> None:
    rules = (
        'mode = "all"\n' + rule('text = "route me"') + '[[rule]]\nname = "s"\nwhen.label = "invoice"\nreview = "hr"\n'
    )
    assert decide(rules, text="route me").review_reason == "hr"


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ('[[rule]]\nname = "a"\nwehn = {}\n', "(line 1): unknown key 'wehn'; did you mean 'when'"),
        (
            'mode = "first"\n\n[[rule]]\nname = "a"\nwhen = { lable = "x" }\n',
            "(line 3): unknown key 'lable'; did you mean",
        ),
        ('[[rule]]\nname = "a"\n', "it would do nothing"),
        ('[[rule]]\nwhen = {}\n', "has no name"),
        ('rule = "x"', "two brackets"),
        ("rule = [1]", "has no name"),
        (rule('label = "x"') * 2, "same name"),
        (rule("min_score = true"), "is a number"),
        (rule("label = 3"), "a string or a list of strings"),
        (rule("text = 'x'", 'trust = "yes"'), "true or false"),
        ('mode = "best"', '"first" or "all"'),
        ('[default]\ndestinations = ["mail:x"]', "folder:TEMPLATE or webhook:ENDPOINT"),
        ('[default]\ndestinations = ["folder:{lable}"]', "there are: label"),
        ('[default]\ndestinations = ["folder:{name.__class__}"]', "there are: label"),
        ('[default]\ndestinations = ["folder:{name:>999999999}"]', "only {field}"),
        ("mode = ", "not valid TOML"),
        (rule("pattern = '(a{1,40}){1,40}'"), "more than 500 ways"),
        (rule("pattern = 'a+b'"), "without an upper bound"),
        (rule("pattern = '(a)\\1'"), "back-reference"),
        (rule("pattern = '(?=a)b'"), "look-around"),
        (rule("pattern = '['"), "not a regular expression"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(rules: str, says: str) -> None:
    with pytest.raises(Misconfigured) as error:
        parse_rules(rules)
    assert error.value.code == "bad-rules"
    assert says in error.value.detail


def test_a_single_destination_may_stand_without_its_list() -> None:
    rules = parse_rules('[default]\ndestinations = "folder:x"')
    assert rules.default.destinations == (Destination("folder", "x"),)


def test_the_digest_follows_the_text() -> None:
    assert parse_rules("").digest != parse_rules("# a remark").digest
    assert decide("").rules_digest == parse_rules("").digest


HOSTILE = ["a" * 1_000_000, " " * 500_000 + "!", "\n" * 1_000_000, "a!" * 500_000, "\u0301" * 500_000]


@pytest.mark.parametrize("text", HOSTILE, ids=["a", "blanks", "lines", "a!", "marks"])
@pytest.mark.parametrize("pattern", ["a{0,20}a{0,20}b", r"(a|\W){1,7}#", r"\s{1,20}\s{1,20}x", "(a{1,2}){1,7}b"])
def test_hostile_texts_cost_little(pattern: str, text: str) -> None:
    """These are among the slowest patterns that are accepted, on a million characters."""
    rules = parse_rules(rule(f"pattern = '{pattern}'"))
    before = time.process_time()
    assert route(rules, CONFIDENT, DOCUMENT, text, {}).rules == ("default",)
    assert time.process_time() - before < 1.0


@given(st.text(max_size=300))
def test_a_path_part_is_harmless_whatever_it_is_made_of(text: str) -> None:
    part = safe_part(text)
    assert part not in ("", ".", "..")
    assert not set(part) & set('/\\:*?"<>|\0\n\u202e')
    assert len(part.encode()) <= MAX_PART_BYTES
    assert not part.startswith(".")


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_no_document_leaves_the_root(name: str, label: str, sender: str) -> None:
    document = replace(DOCUMENT, name=name, label=label, metadata={"from": sender})
    path = fill_template("../{label}/{sender}/../{year}/{stem}{suffix}", document)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert len(path.parts) == 6


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("../../etc/passwd", "_.._etc_passwd"), ("CON", "_CON"), ("nul.txt", "_nul.txt"), (".bashrc", "bashrc"),
        ("", "_"), ("a" * 300 + ".pdf", "a" * 116 + ".pdf"), ("Ré sumé.pdf", "Ré sumé.pdf"),
    ],
)  # fmt: skip
def test_path_parts(name: str, part: str) -> None:
    assert safe_part(name) == part
