"""Personal data in texts: every kind, hard negatives, time on hostile texts."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from pipeline.codec import decode_parsed, encode_parsed
from pipeline.documents import Element, Parsed
from pipeline.errors import Misconfigured
from pipeline.personal_data.detect import counts, find
from pipeline.personal_data.kinds import KINDS
from pipeline.route import DocumentValues, matches
from pipeline.rules import parse_rules
from tests.unit.pipeline.test_route import DOCUMENT

MRZ = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10"
VALUES = (
    ("email", "Write to {}, please.", "ana.souza+post@mail.example.org"),
    ("iban", "IBAN: {} BIC COBADEFF", "DE89 3704 0044 0532 0130 00"),
    ("iban", "Konto {}.", "GB29NWBK60161331926819"),
    ("telephone", "Rückfragen: {}", "+49 (0)30 901820"),
    ("telephone", "Tel. {}", "030 901820"),
    ("telephone", "Call {} today", "(415) 555-2671"),
    ("telephone", "Mobile: {}", "98765 43210"),
    ("card", "Paid with {} 12/27", "4111 1111 1111 1111"),
    ("card", "Paid with {}", "378282246310005"),
    ("aadhaar", "Aadhaar number {}", "2341 2341 2346"),
    ("pan", "PAN {}", "ABCPE1234F"),
    ("gstin", "GSTIN: {}", "27AAPFU0939F1ZV"),
    ("voter_id", "Voter ID {}", "WKH1186253"),
    ("passport", "Passport No. {}", "C01X00T47"),
    ("passport", "{}", MRZ),
    ("de_steuer_id", "Steuer-ID {}", "36 574 261 809"),
    ("vat_id", "USt-IdNr. {}", "DE136695976"),
    ("fr_nir", "NIR {}", "2 95 10 99 126 111 93"),
    ("it_codice_fiscale", "codice fiscale {}", "RCCMNL83S18D969H"),
    ("es_nif", "DNI {}", "54362315K"),
    ("pl_pesel", "PESEL {}", "44051401359"),
    ("nl_bsn", "BSN {}", "111222333"),
    ("be_national_number", "Rijksregisternummer {}", "85.07.30-033 28"),
    ("gb_utr", "UTR {}", "1955839661"),
    ("gb_nino", "National Insurance number {}", "QQ123456C".replace("QQ", "AB")),
    ("pt_nif", "Contribuinte {}", "501964843"),
)
OTHERS = (
    "Order no. 4111111111111111",
    "Invoice 2341 2341 2346 of 01.02.2026",
    "Part ABC1234567, serial 378282246310006",
    "Rechnung 36574261809 vom 01.02.2026",
    "At 10:30 on 2026-11-24 we shipped 1,234,567.89 units to room 030.",
    "DE88 3704 0044 0532 0130 00 has a wrong check digit",
    "name@localhost and @handle and a@b",
    "Best.-Nr. 44051401359",
    "The order 111222333 and the lot 501964843",
)


@pytest.mark.parametrize(("kind", "sentence", "value"), VALUES)
def test_values_are_found_where_they_stand(kind: str, sentence: str, value: str) -> None:
    text = "Dear all, nothing here. " + sentence.format(value)
    assert [(span.kind, text[span.start : span.end]) for span in find(text)] == [(kind, value)]
    assert counts(find(text)) == {kind: 1} and kind in KINDS


@pytest.mark.parametrize("text", OTHERS)
def test_numbers_of_things_are_no_personal_data(text: str) -> None:
    assert find(text) == ()


@pytest.mark.parametrize(
    "unit",
    ["a", "1", "1 ", "a@", "a.", "12 ", "A1", "+49 ", "DE89 ", "(0", "4111 1111 ", "P<", "a@a.", "0 1-", "tel 1 "],
)
def test_time_grows_with_the_length_only(unit: str) -> None:
    words = " tel passport aadhaar vat nip bsn utr steuer fiscal cif epic pesel rijksregister svnr nino "
    seconds = []
    for length in (50_000, 200_000):
        text = unit * (length // len(unit)) + words
        started = time.process_time()
        find(text)
        seconds.append(time.process_time() - started)
    assert seconds[1] < 12 * seconds[0] + 0.1


def test_places_survive_storage() -> None:
    parsed = Parsed("text/plain", (Element("NarrativeText", "IBAN GB29NWBK60161331926819"),), 1, "plain")
    assert decode_parsed(encode_parsed(parsed)).personal_data is None
    parsed = replace(parsed, personal_data=find(parsed.text))
    assert decode_parsed(encode_parsed(parsed)) == parsed and parsed.personal_data


def test_rules_name_kinds_or_least_counts() -> None:
    values = DocumentValues(None, replace(DOCUMENT, personal_data={"iban": 2, "email": 1}), "", {})
    for condition, expected in (
        ('["iban"]', True), ('"es_*"', False), ('"*"', True), ("{ iban = 2 }", True), ("{ iban = 2, email = 2 }", False)
    ):  # fmt: skip
        rules = parse_rules(f'[[rule]]\nname = "a"\nwhen = {{ personal_data = {condition} }}\nreview = "sensitive"\n')
        assert matches(rules.rules[0], values) is expected
    for condition in ("{ ibann = 2 }", "{ iban = 0 }", "{ iban = true }", "3"):
        with pytest.raises(Misconfigured, match="personal_data"):
            parse_rules(f'[[rule]]\nname = "a"\nwhen = {{ personal_data = {condition} }}\nreview = "sensitive"\n')
