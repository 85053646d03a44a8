"""Precision and recall of every kind of personal data, on generated sentences in six languages.

Each document has three sentences with values and five with hard negatives: numbers of things whose form, and often
whose check digit, is that of a value. One value in five stands without a word that names it, one in ten in a table row
under its heading.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module

import phonenumbers

from pipeline.personal_data.checks import IBAN_LENGTHS, REGIONS
from pipeline.personal_data.detect import find
from tests.benchmarks.record import record

SEED = 20261129
DOCUMENTS = 6000
LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"

#: language -> sentences around a name of a value and the value, and around the name of a thing and its number
SENTENCES = {
    "en": ("Please update our records: the {} is {} from next month.", "The {} {} was shipped to your site on {}."),
    "de": ("Bitte ändern Sie unsere Angaben: {} lautet ab sofort {}.", "Zu {} {} vom {} liegt uns keine Antwort vor."),
    "fr": (
        "Merci de mettre à jour le dossier : {} {} dès le mois prochain.",
        "Concernant {} {} du {}, rien à signaler.",
    ),
    "it": (
        "Vi preghiamo di aggiornare i dati: {} {} dal mese prossimo.",
        "In merito a {} {} del {}, nessuna risposta.",
    ),
    "es": (
        "Les rogamos actualizar los datos: {} {} a partir de ahora.",
        "Con respecto a {} {} del {}, no hay respuesta.",
    ),
    "pl": ("Prosimy o zmianę danych: {} {} od przyszłego miesiąca.", "W sprawie {} {} z dnia {} brak odpowiedzi."),
}
THINGS = {
    "en": ("invoice", "order", "part number", "serial number", "delivery", "contract", "drawing"),
    "de": ("Rechnung", "Bestellung", "Artikelnummer", "Seriennummer", "Lieferschein", "Vertrag", "Zeichnung"),
    "fr": ("la facture", "la commande", "l'article", "le lot", "le bon de livraison", "le contrat"),
    "it": ("la fattura", "l'ordine", "l'articolo", "il lotto", "la bolla", "il contratto"),
    "es": ("la factura", "el pedido", "el artículo", "el lote", "el albarán", "el contrato"),
    "pl": ("faktura", "zamówienie", "artykuł", "partia", "umowa"),
}
NAMES = {
    "email": ("e-mail", "E-Mail", "courriel", "posta elettronica", "correo", "adres e-mail"),
    "telephone": ("telephone number", "Telefonnummer", "téléphone", "telefono", "teléfono", "telefon"),
    "iban": ("IBAN",),
    "card": ("card number", "Kartennummer", "numéro de carte", "numero di carta", "tarjeta", "karta"),
    "aadhaar": ("Aadhaar",), "pan": ("PAN",), "gstin": ("GSTIN",), "voter_id": ("voter ID", "EPIC no."),
    "passport": ("passport no.", "Reisepassnummer", "passeport n°", "passaporto n.", "pasaporte n.º", "paszport nr"),
    "vat_id": ("VAT number", "USt-IdNr.", "numéro de TVA", "partita IVA", "NIF-IVA", "NIP"),
    "de_steuer_id": ("Steuer-ID", "Identifikationsnummer", "tax ID"), "fr_spi": ("numéro fiscal", "SPI"),
    "fr_nir": ("numéro de sécurité sociale",), "it_codice_fiscale": ("codice fiscale",),
    "es_nif": ("DNI", "NIF", "NIE"),
    "pl_pesel": ("PESEL",), "pl_nip": ("NIP",), "nl_bsn": ("BSN", "burgerservicenummer"),
    "be_national_number": ("rijksregisternummer", "numéro national", "NISS"), "at_tax_number": ("Steuernummer",),
    "at_social_insurance": ("Sozialversicherungsnummer", "SVNR"), "pt_nif": ("NIF", "contribuinte"),
    "gb_nino": ("National Insurance number",), "gb_utr": ("UTR", "Unique Taxpayer Reference"),
}  # fmt: skip


class Values:
    """Makes values of each kind. Where python-stdnum only checks, random numbers are drawn until one is valid."""

    def __init__(self, source: random.Random) -> None:
        self.random = source
        self.makers: dict[str, Callable[[], str]] = {
            "email": self.email, "telephone": self.telephone, "iban": self.iban, "card": self.card,
            "aadhaar": self.drawn("in_.aadhaar", "#### #### ####", "############"),
            "pan": self.drawn("in_.pan", "AAAPA####A"),
            "gstin": self.drawn("in_.gstin", "27AAAPA####A1ZX"), "voter_id": self.drawn("in_.epic", "AAA#######"),
            "passport": lambda: self.filled(self.random.choice(("AA#######", "#########", "A########"))),
            "vat_id": self.drawn("de.vat", "DE#########"),
            "de_steuer_id": self.drawn("de.idnr", "###########", "## ### ### ###"),
            "fr_spi": self.drawn("fr.nif", "1############", "30 ## ### ### ###"), "fr_nir": self.nir,
            "it_codice_fiscale": self.drawn("it.codicefiscale", "AAAAAA##A1#A###A"),
            "es_nif": self.drawn("es.dni", "########A", "########-A"),
            "pl_pesel": self.drawn("pl.pesel", "##0#1######"),
            "pl_nip": self.drawn("pl.nip", "##########", "###-###-##-##"), "nl_bsn": self.drawn("nl.bsn", "#########"),
            "be_national_number": self.drawn("be.nn", "##.0#.1#-###.##"),
            "at_tax_number": self.drawn("at.tin", "##-###/####"),
            "at_social_insurance": self.drawn("at.vnr", "#### 1#0###"),
            "pt_nif": self.drawn("pt.nif", "2########", "2## ### ###"),
            "gb_nino": lambda: self.random.choice(("CE", "HJ", "KM")) + self.filled(" ## ## ## C"),
            "gb_utr": self.drawn("gb.utr", "##########"),
        }  # fmt: skip

    def filled(self, form: str) -> str:
        """Replace # by digits, A by letters and X by either."""
        r = self.random
        some = {
            "#": lambda: str(r.randrange(10)),
            "A": lambda: r.choice(LETTERS),
            "X": lambda: r.choice(LETTERS + "0123456789"),
        }
        return "".join(some[c]() if c in some else c for c in form)

    def drawn(self, module: str, *forms: str) -> Callable[[], str]:
        """Return a maker of valid numbers of these forms."""
        is_valid = import_module(f"stdnum.{module}").is_valid

        def make() -> str:
            while True:
                value = self.filled(self.random.choice(forms))
                if is_valid(value):
                    return value

        return make

    def email(self) -> str:
        r = self.random
        name = r.choice(("ana", "j.smith", "m-lopez", "info+hr", "k_nowak", "pierre.du.bois"))
        domain = r.choice(("example", "mail.firma", "büro")) + r.choice((".com", ".de", ".co.uk", ".eu"))
        return f"{name}{r.randrange(100)}@{domain}"

    def telephone(self) -> str:
        r, formats = self.random, phonenumbers.PhoneNumberFormat
        while True:
            kind = r.choice((phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE))
            example = phonenumbers.example_number_for_type(r.choice(REGIONS), kind)
            text = str(example.national_number)
            example.national_number = int(text[:-4] + self.filled("####"))
            if phonenumbers.is_valid_number(example):
                return phonenumbers.format_number(
                    example, r.choice((formats.INTERNATIONAL, formats.NATIONAL, formats.E164))
                )

    def iban(self) -> str:
        country = self.random.choice(("DE", "AT", "BE", "ES", "PL", "PT", "CH"))
        body = self.filled("#" * (IBAN_LENGTHS[country] - 4))
        digits = int("".join(str(int(c, 36)) for c in body + country + "00"))
        number = f"{country}{98 - digits % 97:02d}{body}"
        return self.random.choice((number, " ".join(number[at : at + 4] for at in range(0, len(number), 4))))

    def card(self) -> str:
        from stdnum import luhn

        body = self.filled(self.random.choice(("4##############", "51#############", "37############")))
        number = body + luhn.calc_check_digit(body)
        return self.random.choice(
            (number, " ".join((number[:4], number[4:8], number[8:12], number[12:])) if len(number) == 16 else number)
        )

    def nir(self) -> str:
        body = self.filled("1##0#75######").replace("00", "01")
        return f"{body}{97 - int(body) % 97:02d}"

    def thing(self) -> str:
        """Return a number of a thing: free forms, dates, amounts, or a number with a value's own check digit."""
        r = self.random
        forms = (
            "AA-####-##", "2026-#####", "##########", "###########", "4###############", "AAA#######", "#.###,##",
            "#########", "0#.0#.202#", "AAA####A", "#### #### ####", "0##-#######", "########A", "AA######A",
            "PO##########", "####/####",
        )  # fmt: skip
        if r.random() < 0.7:
            return self.filled(r.choice(forms))
        kinds = (
            "aadhaar",
            "voter_id",
            "pl_pesel",
            "pl_nip",
            "nl_bsn",
            "gb_utr",
            "pt_nif",
            "card",
            "de_steuer_id",
            "es_nif",
        )
        return self.makers[r.choice(kinds)]()


def document(values: Values) -> tuple[str, list[tuple[int, int, str]]]:
    """Return a text and the places of its values."""
    r = values.random
    language = r.choice(sorted(SENTENCES))
    with_value, with_thing = SENTENCES[language]
    sentences: list[tuple[str, str, str]] = []
    for kind in r.sample(sorted(NAMES), 3):
        value, name = values.makers[kind](), r.choice(NAMES[kind])
        style = r.random()
        neutral = "it" if language == "en" else "2."
        sentence = (
            with_value.format(neutral, value) if style < 0.2
            else f"Nr.\t{name}\tOk\n1\t{value}\t-" if style < 0.3 else with_value.format(name, value)
        )  # fmt: skip
        sentences.append((sentence, value, kind))
    for _ in range(5):
        day = values.filled("1#.0#.202#").replace(".00", ".01")
        sentences.append((with_thing.format(r.choice(THINGS[language]), values.thing(), day), "", ""))
    r.shuffle(sentences)
    text, places = "", []
    for sentence, value, kind in sentences:
        if kind:
            start = len(text) + sentence.index(value)
            places.append((start, start + len(value), kind))
        text += sentence + "\n\n"
    return text, places


def interval(right: int, of: int) -> list[float]:
    """Return Wilson's 95 % interval of a share."""
    if not of:
        return [0.0, 1.0]
    z, p = 1.96, right / of
    middle, half = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return [round((middle + sign * half) / (1 + z * z / of), 3) for sign in (-1, 1)]


def measure(documents: int = DOCUMENTS, seed: int = SEED) -> dict[str, object]:
    """Return precision and recall by kind with intervals, and the processor time."""
    values = Values(random.Random(seed))
    right: Counter[str] = Counter()
    true: Counter[str] = Counter()
    proposed: Counter[str] = Counter()
    characters, seconds = 0, 0.0
    for _ in range(documents):
        text, places = document(values)
        started = time.process_time()
        spans = [(span.start, span.end, span.kind) for span in find(text)]
        seconds += time.process_time() - started
        characters += len(text)
        true.update(kind for *_, kind in places)
        proposed.update(kind for *_, kind in spans)
        right.update(kind for *_, kind in set(spans) & set(places))
    kinds = {
        kind: {
            "values": true[kind],
            "precision": round(right[kind] / max(1, proposed[kind]), 3),
            "precision_interval": interval(right[kind], proposed[kind]),
            "recall": round(right[kind] / max(1, true[kind]), 3),
            "recall_interval": interval(right[kind], true[kind]),
        }
        for kind in sorted(NAMES)
    }
    return {
        "documents": documents,
        "characters": characters,
        "milliseconds_per_100_kB": round(seconds / characters * 1e8, 1),
        "milliseconds_per_100_kB_in_one_text": one_text(values),
        "kinds": kinds,
    }


def one_text(values: Values) -> float:
    """Return the processor time of one text of 100,000 characters, in milliseconds: the median of seven."""
    text = "".join(document(values)[0] for _ in range(250))[:100_000]
    times = []
    for _ in range(7):
        started = time.process_time()
        find(text)
        times.append(time.process_time() - started)
    return round(sorted(times)[3] * 1000, 1)


if __name__ == "__main__":
    command = "python -m tests.benchmarks.personal_data"
    description = "generated sentences in six languages; three values and five hard negatives in each document"
    print(record("personal_data", command, measure(), SEED, description))
