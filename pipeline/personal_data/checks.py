"""Checks of candidates: checksums, structure, numbering plans. Each takes the candidate as it stands in the text and
returns whether it is valid. The sums are python-stdnum's, the numbering plans those of phonenumberslite."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module

#: Digits of an IBAN by country.
IBAN_LENGTHS = {
    text[:2]: int(text[2:])
    for text in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
        "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
        "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
    ).split()
}
#: The countries whose national telephone numbers are recognised.
REGIONS = ("DE", "FR", "IT", "ES", "PL", "NL", "BE", "AT", "PT", "GB", "US", "IN")
_SEPARATORS = re.compile(r"[\s().\-/\u00a0]+")
_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})\b|(19|20)\d{2}[./-]\d{1,2}[./-]\d{1,2}\b")
#: Beginnings of card numbers by length: American Express, Diners, Visa, Mastercard, Discover, JCB, RuPay, UnionPay.
_ISSUERS = re.compile(
    r"3[47]\d{13}|3(0[0-5]|[689]\d)\d{11}|4\d{12}(\d{3}){0,2}"
    r"|(5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|(6011|64[4-9]\d|65\d\d|508[5-9]|60[68]\d|81\d\d|82\d\d|62\d\d|35(2[89]|[3-8]\d))\d{12}"
)
_MRZ_WEIGHTS = (7, 3, 1)


def stdnum(*modules: str) -> Callable[[str], bool]:
    """Return a check that holds if one of python-stdnum's modules does; they are loaded at the first candidate."""

    @lru_cache(maxsize=1)
    def checks() -> list[Callable[[str], bool]]:
        return [import_module(f"stdnum.{module}").is_valid for module in modules]

    return lambda text: any(check(compact(text)) for check in checks())


def compact(text: str) -> str:
    """Return the text in upper case without blanks, dots, hyphens, slashes and brackets."""
    return _SEPARATORS.sub("", text).upper()


def iban(text: str) -> int:
    """Return the number of characters of ``text`` that are an IBAN; 0 if it begins with none."""
    length = IBAN_LENGTHS.get(text[:2].upper(), 0)
    end = nth_character(text, length)
    if not end or text[end : end + 1].isalnum():
        return 0
    number = compact(text[:end])
    return end if int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1 else 0


def nth_character(text: str, count: int) -> int:
    """Return the offset behind the ``count``-th letter or digit of the text; 0 if there are fewer."""
    for at, character in enumerate(text):
        if character.isalnum():
            count -= 1
            if count == 0:
                return at + 1
    return 0


def card(text: str) -> bool:
    """Return whether a number has an issuer's beginning and length, and Luhn's check digit."""
    number = compact(text)
    if not _ISSUERS.fullmatch(number) or len(set(number)) == 1:
        return False
    doubled = (int(digit) * (2 - at % 2) for at, digit in enumerate(reversed(number), 1))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def telephone_abroad(text: str) -> bool:
    """Return whether a number that begins with + or 00 is valid in its country's numbering plan."""
    digits = compact(text)
    return _is_valid_telephone("+" + digits.removeprefix("00").lstrip("+"), None)


def telephone_national(text: str) -> bool:
    """Return whether a number is valid in the numbering plan of one of REGIONS, and not a date."""
    return not _DATE.match(text) and any(_is_valid_telephone(compact(text), region) for region in REGIONS)


def _is_valid_telephone(digits: str, region: str | None) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(digits, region))
    except phonenumbers.NumberParseException:
        return False


def vat(text: str) -> bool:
    """Return whether a VAT number of one of the recognised countries has its check digits."""
    return stdnum(_VAT[text[:2].upper()])(text) if text[:2].upper() in _VAT else False


_VAT = {
    "DE": "de.vat", "AT": "at.uid", "BE": "be.vat", "ES": "es.nif", "FR": "fr.tva", "IT": "it.iva", "NL": "nl.btw",
    "PL": "pl.nip", "PT": "pt.nif", "GB": "gb.vat",
}  # fmt: skip


def passport_zone(text: str) -> bool:
    """Return whether the second line of a passport's machine-readable zone has its check digits (ICAO 9303)."""
    line = text.split()[-1]
    fields = ((line[:9], line[9]), (line[13:19], line[19]), (line[21:27], line[27]))
    whole = line[:10] + line[13:20] + line[21:43]
    for value, digit in (*fields, (whole, line[43])):
        numbers = (0 if character == "<" else int(character, 36) for character in value)
        if digit != str(sum(number * _MRZ_WEIGHTS[at % 3] for at, number in enumerate(numbers)) % 10):
            return False
    return True


def national_insurance(text: str) -> bool:
    """Return whether the beginning of a British National Insurance number is one that is issued."""
    return compact(text)[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def always(_: str) -> bool:
    """Return True: the pattern says all."""
    return True
