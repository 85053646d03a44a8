"""The kinds of personal data: pattern, check, and the words that must stand near what a checksum alone does not prove.

Patterns begin where no letter or digit stands before, and every repetition has an upper bound, so that the time for a
text is proportional to its length, whatever is in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.personal_data import checks
from pipeline.personal_data.checks import stdnum

#: Part of the key under which results are stored: raise it with every change of what is recognised.
DETECTORS = "1"

Check = Callable[[str], bool | int]


@dataclass(frozen=True, slots=True)
class Detector:
    """How one form of a kind is recognised.

    ``check`` returns whether a candidate is one, or how many of its characters are. ``context`` must match near the
    candidate, ``unless`` must not match just before it.
    """

    kind: str
    pattern: re.Pattern[str]
    check: Check
    context: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None


def _detector(kind: str, pattern: str, check: Check, context: str = "", unless: str = "", flags: int = 0) -> Detector:
    unless = unless or (_THINGS if context else "")
    bounded = re.compile(rf"(?<!\w)(?<!\d[.,/\-])(?:{pattern})(?!\w)", flags | re.ASCII if flags else re.ASCII)
    return Detector(kind, bounded, check, _words(context), _words(unless))


def _words(alternatives: str) -> re.Pattern[str] | None:
    return re.compile(rf"(?<![^\W_])(?:{alternatives})", re.IGNORECASE) if alternatives else None


_S = "[ \u00a0.-]?"
_TELEPHONE = (
    r"tel\b|t[ée]l[ée]?f|t[ée]l[ée]?ph|phone|fax\b|mobil|handy|cell\b|call\b|m[óo]vil|cellulare|kom[óo]rk|gsm\b|tél\b"
    r"|ph\b|portable|rufnummer|durchwahl|contact|whatsapp|telemóvel|tlf|fijo|appel|anruf|numer telefonu"
)
#: What stands before numbers of things, with no word of a value between it and the number.
_THINGS = (
    r"(?:invoice|order|bestell|auftrag|rechnung|facture|commande|fattura|ordine|pedido|factura|faktur|zam[óo]wieni"
    r"|factuur|part|teile?|article|artikel|item|serial|serien|batch|lot|tracking|sendung|shipment|ticket|reference"
    r"|ref|case|vorgang|customer|kunden|sku|transaction|version|isbn|imei|asset|pi[èe]ce|s[ée]rie|codice articolo"
    r"|art[íi]culo|articolo|artyku|n[úu]mero de serie|policy|account|meter|z[äa]hler"
    r"|contract|vertrag|contrat|umow|deliver|liefer|livraison)"
    r"(?:(?!card|kart|cart|tarjeta|visa|amex|tel|phone|\bpan\b|dni|nie\b|nif)[^\n]){0,30}$"
)

IGNORE = re.IGNORECASE
DETECTORS_IN_ORDER: tuple[Detector, ...] = (
    Detector(
        "email",
        re.compile(
            r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_]{2,24}"
            r"(?![\w-])"
        ),
        checks.always,
    ),
    _detector("iban", r"[A-Z]{2}\d{2}(?:[ \u00a0-]?[A-Z0-9]){11,30}", checks.iban, flags=IGNORE),
    _detector("passport", r"P[A-Z<][A-Z<]{42}\s{1,4}[A-Z0-9<]{9}\d[A-Z<]{3}\d{7}[MFX<]\d{7}[A-Z0-9<]{14}[\d<]\d",
              checks.passport_zone),
    _detector("gstin", r"\d{2}[A-Z]{5}\d{4}[A-Z][1-9A-Z][A-Z][0-9A-Z]", stdnum("in_.gstin")),
    _detector("pan", r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", stdnum("in_.pan"), unless=_THINGS),
    _detector("vat_id", r"(?:ATU|[A-Z]{2})[ ]?[A-Z0-9](?:[ .]?[A-Z0-9]){7,12}", checks.vat,
              r"vat\b|ust|umsatzsteuer|uid\b|btw\b|tva\b|iva\b|nip\b|nif\b|steuer|mehrwertsteuer"),
    _detector("it_codice_fiscale", r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",
              stdnum("it.codicefiscale"), flags=IGNORE),
    _detector("fr_nir", rf"[1-478]{_S}\d\d{_S}\d\d{_S}\d[\dAB]{_S}\d{{3}}{_S}\d{{3}}{_S}\d\d", stdnum("fr.nir")),
    _detector("card", r"\d{4}([ \u00a0-])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|3[47]\d\d([ \u00a0-])\d{6}\2\d{5}"
              r"|3\d{3}([ \u00a0-])\d{6}\3\d{4}", checks.card, unless=_THINGS),
    _detector("card", r"\d{13,19}", checks.card, unless=_THINGS),
    _detector("aadhaar", r"[2-9]\d{3}[ \u00a0-]?\d{4}[ \u00a0-]?\d{4}", stdnum("in_.aadhaar"),
              r"aad+haa?r|uidai|uid\b|आधार"),
    _detector("voter_id", r"[A-Z]{3}[ ]?\d{7}", stdnum("in_.epic"), r"voter|epic\b|elector|मतदाता"),
    _detector("passport", r"[A-Z]{1,3}\d{6,8}|\d{9}|\d{2}[A-Z]{2}\d{5}|[CFGHJKLMNPRTVWXYZ][0-9CFGHJKLMNPRTVWXYZ]{8}",
              lambda text: sum(map(str.isdigit, text)) >= 4,
              r"passport|reisepass|passnummer|passeport|pasaporte|passaporto|paszport|paspoort|passaporte"),
    _detector("es_nif", rf"\d{{8}}{_S}[A-Z]|[XYZ]{_S}\d{{7}}{_S}[A-Z]", stdnum("es.dni", "es.nie"), unless=_THINGS),
    _detector("es_nif", rf"[ABCDEFGHJNPQRSUVW]{_S}\d{{7}}{_S}[0-9A-J]", stdnum("es.cif"),
              r"cif\b|nif\b|c\.i\.f|n\.i\.f"),
    _detector("be_national_number", r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d", stdnum("be.nn", "be.bis")),
    _detector("be_national_number", rf"\d\d{_S}\d\d{_S}\d\d{_S}\d{{3}}{_S}\d\d", stdnum("be.nn", "be.bis"),
              r"rijksregister|registre national|national(?:e|regist)? ?(?:number|nummer|register)|num[ée]ro national"
              r"|insz|niss"),
    _detector("de_steuer_id", rf"\d\d{_S}\d{{3}}{_S}\d{{3}}{_S}\d{{3}}", stdnum("de.idnr"),
              r"steuer|id-?nr|identifikationsn|tax id|tin\b"),
    _detector("fr_spi", rf"[0-3]\d{_S}\d\d{_S}\d{{3}}{_S}\d{{3}}{_S}\d{{3}}", stdnum("fr.nif"),
              r"fiscal|spi\b|imp[ôo]t"),
    _detector("pl_pesel", r"\d{11}", stdnum("pl.pesel"), r"pesel"),
    _detector("pl_nip", r"\d{3}[ -]?\d{2,3}[ -]?\d{2}[ -]?\d{2,3}", stdnum("pl.nip"), r"nip\b"),
    _detector("nl_bsn", rf"\d{{4}}{_S}\d{{2}}{_S}\d{{3}}|\d{{3}}{_S}\d{{3}}{_S}\d{{3}}", stdnum("nl.bsn"),
              r"bsn\b|burgerservice|sofi"),
    _detector("at_tax_number", r"\d\d[ -]?\d{3}[ /]?\d{4}", stdnum("at.tin"),
              r"steuernummer|st\.?-?nr|abgabenkonto|finanzamt"),
    _detector("at_social_insurance", r"[1-9]\d{3}[ -]?\d{6}", stdnum("at.vnr"), r"sv-?n|svnr|sozialversicherung"),
    _detector("pt_nif", r"\d{3}[ .]?\d{3}[ .]?\d{3}", stdnum("pt.nif"), r"nif\b|contribuinte|nipc\b"),
    _detector("gb_nino", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]", checks.national_insurance,
              r"national insurance|nino\b|ni (?:number|no)"),
    _detector("gb_utr", r"\d{5} ?\d{5}", stdnum("gb.utr"), r"utr\b|unique taxpayer(?: reference)?|self.assessment"),
    Detector("telephone", re.compile(r"(?<![\w+])(?:\+|00)[1-9](?:[ .\-/()\u00a0]{0,2}\d){6,14}(?!\w)", re.ASCII),
             checks.telephone_abroad, unless=_words(_THINGS)),
    Detector("telephone", re.compile(r"(?<![\w(])(?<!\d[.,/\-])\(?\d(?:[ .\-/()\u00a0]{0,2}\d){8,12}(?!\w)", re.ASCII),
             checks.telephone_national, _words(_TELEPHONE), _words(_THINGS)),
    Detector("telephone", re.compile(r"(?<![\w(])\(\d{3}\) ?\d{3}[-. ]\d{4}(?!\w)", re.ASCII),
             checks.telephone_national),
    Detector("telephone", re.compile(r"(?<!\w)(?<!\d[ .,/\-])0[1-79](?:([ .])\d\d)(?:\1\d\d){3}(?![ .]?\w)", re.ASCII),
             checks.telephone_national, unless=_words(_THINGS)),
)  # fmt: skip

#: Every kind, in the order in which the detectors come.
KINDS: tuple[str, ...] = tuple(dict.fromkeys(detector.kind for detector in DETECTORS_IN_ORDER))
