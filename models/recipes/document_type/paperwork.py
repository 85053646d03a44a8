"""Forms of text that a company's shelves hold and neither `synthetic` nor `everyday` makes: reports on a test, a visit or a month,
minutes with resolutions, business letters by mail, requirements with numbers, an invoice as a letter or a sheet, an incident told.

Same rules: nothing is taken from a real document; `roughened` is applied by the caller.
"""

from __future__ import annotations

import random

from models.recipes.document_type.everyday import PARTS, filled, several
from models.recipes.document_type.synthetic import (
    ITEM,
    ROLE,
    STEM,
    SYSTEM,
    TOPIC,
    TOWN,
    address,
    code,
    company,
    date,
    joined,
    maker,
    money,
    person,
    rows,
    some,
)

CHECKED = (
    "The {part} ran for {n} minutes without interruption|Temperature rose by {k} K|No leak was found|The reading was {n} at the start and {k} at the "
    "end|Sample {k} failed after {n} minutes|Noise stayed under {n} dB|Two of {k} samples passed|The {part} shows wear on one side|Values were "
    "taken every {k} minutes|The alignment was off by {k} hundredths|The customer's crew was present|Bolts were tightened again to {n} Nm"
).split("|")
MEANT = (
    "The sample meets the requirement.|The target was missed by {k} %.|We recommend a second run with the new {part}.|Cause: the {part} was fitted "
    "the wrong way round.|The customer will be told by {date}.|No further action is needed.|A spare {part} has been ordered.|Next visit: {date}."
).split("|")


@maker("report")
def tried(r: random.Random) -> str:
    """A test, a measurement or a visit, written down by the person who was there."""
    part = r.choice(PARTS)
    head = r.choice(
        (
            f"Test report {code(r, 'T', 'TR', 'V')}: {part}",
            f"Site visit report, {r.choice(TOWN)}",
            f"Service report {code(r, 'SR', 'FS')}",
            f"Measurement report: {part}",
            f"Trial of the {part}: results",
            f"Visit report {company(r)}",
        )
    )
    facts = [f"Date: {date(r)}", f"By: {person(r)}", f"Customer: {company(r)}", f"Machine: {code(r, 'M', 'SN')}", f"Place: {r.choice(TOWN)}", f"Hours run: {r.randint(100, 30000)}"]  # fmt: skip
    bar = r.choice((" | ", "\t", "  "))
    table = [bar.join(("Sample", "Load", "Duration", "Result"))]
    table += [
        bar.join(
            (
                str(n),
                f"{r.randint(1, 90)} kN",
                f"{r.randint(5, 400)} min",
                r.choice(("passed", "failed", "meets target", "below target")),
            )
        )
        for n in range(1, r.randint(3, 8))
    ]
    return joined(
        head,
        some(r, facts, 2, 6, True),
        r.choice(("Purpose", "Reason for the visit", "Aim", "Background", "")),
        filled(
            r,
            r.choice(
                (
                    "To see how long the {part} lasts under load.",
                    "The customer had complained: {trouble}.",
                    "Yearly check after {n} months in service.",
                )
            ),
        ),
        r.choice(("Findings", "Observations", "Set-up and procedure", "What we found", "Results")),
        several(r, CHECKED, 3, 7),
        table if r.random() < 0.5 else "",
        r.choice(("Conclusion", "Assessment", "Result", "Next steps")),
        several(r, MEANT, 1, 4),
    )


@maker("report")
def period(r: random.Random) -> str:
    """A month, a quarter or a year in words and a table."""
    when = r.choice(
        (
            f"{r.choice(('first', 'second', 'third', 'fourth'))} quarter of {r.randint(2012, 2030)}",
            f"Q{r.randint(1, 4)} {r.randint(2012, 2030)}",
            f"the year {r.randint(2012, 2030)}",
        )
    )
    lines = "Order intake|Sales|Gross profit|Staff costs|Operating result|Cash at the end|Net debt|Stock|Headcount|Scrap rate|Accidents".split(
        "|"
    )
    bar = r.choice((" | ", "\t", "  "))
    table = [bar.join((name, *(f"{r.randint(-90, 9000):,}" for _ in range(3)))) for name in some(r, lines, 4, 9, True)]
    said = (
        f"Sales were {r.randint(1, 30)} % above the year before.|Two large orders moved into the next quarter.|Energy cost more than planned.|"
        f"The {r.choice(PARTS)} line ran at {r.randint(60, 99)} % of its capacity.|Cash stood at {money(r)} at the end of the period.|Staff turnover fell to {r.randint(2, 12)} %.|"
        f"We expect {money(r)} of orders in the coming months.|Bad weather held up deliveries from {r.choice(TOWN)}.|Payment from {company(r)} is still open.|Investment went into a new {r.choice(PARTS)}."
    ).split("|")
    titles = some(
        r,
        ["Overview", "Orders and sales", "Result", "Liquidity", "Staff", "Outlook", "Risks", "Investments"],
        3,
        6,
        True,
    )
    return joined(
        r.choice(
            (
                f"Report on {when}",
                f"{company(r)}\n\nReport to the board, {when}",
                f"{when.capitalize()}: business report",
            )
        ),
        [f"{title}\n\n{' '.join(some(r, said, 1, 3))}" for title in titles],
        [bar.join(("in thousands", "actual", "plan", "last year")), *table],
    )


@maker("minutes")
def resolved(r: random.Random) -> str:
    """Formal minutes: who was there, numbered items, resolutions and votes."""
    people = [person(r) for _ in range(r.randint(4, 8))]
    body = r.choice(("board of directors", "safety committee", "supervisory board", "works council", "steering committee", "general meeting", "parish council"))  # fmt: skip
    points = [
        f"The {body} resolved {r.choice(('unanimously', 'by a majority', f'with {r.randint(3, 9)} votes to {r.randint(0, 2)}'))} to {r.choice(('buy the', 'repair the', 'sell the old'))} {r.choice(PARTS)} for {money(r)}.",
        f"{people[0]} opened the meeting at {r.randint(8, 18)}.{r.randint(10, 59)} and found that there was a quorum.",
        f"The minutes of {date(r)} were approved.",
        f"{people[1]} presented the figures; questions were answered.",
        f"Accidents since the last meeting: {r.randint(0, 5)}. Near misses: {r.randint(0, 12)}.",
        f"{people[2]} pointed out that the {r.choice(PARTS)} is still not fenced off. {people[3]} will see to it by {date(r)}.",
        f"The request of {person(r)} was postponed.",
        "There was no other business.",
        f"The walk round showed: escape door blocked, one {r.choice(PARTS)} without a guard.",
        f"Next meeting on {date(r)}.",
    ]
    mark = r.choice(("{}. ", "Item {}: ", "{}) ", "TOP {} ", ""))
    return joined(
        r.choice(
            (
                f"Minutes: {body}, {date(r)}",
                f"{company(r)}\n\nMinutes of the meeting of the {body}",
                f"{body.upper()}\n\nMINUTES",
            )
        ),
        f"{r.choice(('Present', 'In attendance', 'Members present'))}: {', '.join(people)}",
        r.choice(("", f"Apologies: {person(r)}", f"In the chair: {people[0]}. Secretary: {people[1]}.")),
        [mark.format(n) + text for n, text in enumerate(some(r, points, 4, 9, True), 1)],
        r.choice(("", f"Signed: {people[0]} (chair)", f"For the record: {people[1]}")),
    )


WRITTEN = (
    "we confirm your order of {date} with thanks.|since {date} our {part} {trouble}, and nobody has come yet.|could you book two rooms from {date}? I arrive at {k} in the evening.|the new {part} "
    "does what it should.|please let me know when the {part} can be expected.|our customer is waiting, so a short answer would help.|the price is fine with us up to {n} a "
    "piece.|I put the pictures and the readings into the attachment.|see you on Thursday then.|we cannot accept this and ask for a replacement under warranty.|thank you for the good talk "
    "yesterday.|can you ring me before {k}?|the drawing you sent is an older one.|attached is what we agreed on.|I will be travelling and read mail in the evening only."
).split("|")


@maker("email")
def letter_by_mail(r: random.Random) -> str:
    """A business mail: orders, complaints, travel, results. With the header lines, some of them, or none."""
    a, b, part = person(r), person(r), r.choice(PARTS)
    at = lambda who: f"{who.split()[0].lower()}@{r.choice(STEM).lower()}.example"  # noqa: E731
    subject = r.choice(("Your order {code}", "Complaint: {part}", "Trip to the fair", "Results for the {part}", "Question about {code}", "Delivery date", "Re: {part}", "Offer {code}", "Meeting on {date}"))  # fmt: skip
    heads = (
        [
            f"From: {a} <{at(a)}>",
            f"To: {b} <{at(b)}>",
            f"Date: {date(r)} {r.randint(6, 21)}:{r.randint(10, 59)}",
            f"Subject: {filled(r, subject)}",
        ],
        [filled(r, subject)],
        [f"{a}\n{at(a)}", filled(r, subject)],
        [],
    )
    return joined(
        r.choice(heads),
        f"{r.choice(('Dear', 'Hello', 'Hi', 'Good afternoon'))} {r.choice((b, b.split()[0], 'Ms ' + b.split()[1], 'all', 'colleagues'))},",
        " ".join(several(r, WRITTEN, 2, 4)),
        " ".join(several(r, WRITTEN, 0, 3)),
        r.choice(("", "\n".join(f"- {r.randint(1, 40)} {item}" for item in some(r, ITEM, 1, 4)))),
        f"{r.choice(('Kind regards', 'Regards', 'Thanks', 'With best wishes', 'Yours faithfully', 'See you'))}\n{a}",
        r.choice(("", f"{r.choice(ROLE)}\n{company(r)}\n{address(r)}", f"> {filled(r, r.choice(WRITTEN))}\n> {part}")),
    )


DEMANDS = (
    "The {part} shall withstand {n} bar for {k} minutes|The {part} shall run at {n} °C without damage|All wetted parts are of steel 1.44{k}|The display shall show {code} within {k} s|Noise at one "
    "metre is below {n} dB(A)|Hardness {n} Shore A, tolerance {k}|The {part} shall be replaceable by one person in {n} minutes|Salt spray for {n} hours without rust|Surface roughness Ra {k} µm or "
    "better|Service life at least {n} 000 hours|Delivered with certificate 3.1|Interfaces: two analogue inputs, 4 to 20 mA"
).split("|")


@maker("specification")
def demands(r: random.Random) -> str:
    """Numbered requirements, or a table of them, with how each is verified."""
    part, tag = r.choice(PARTS), r.choice(("REQ", "R", "SPEC", "F", "NF", ""))
    start = r.randint(1, 600)
    check = r.choice(("inspection", "test", "analysis", "certificate"))
    texts = [filled(r, text) for text in some(r, DEMANDS, 5, 11, True)]
    lines = [f"{tag}{'-' if tag else ''}{start + n}{r.choice((':', '', ' |', '.'))} {text}. {r.choice(('', f'Verified by {check}.'))}" for n, text in enumerate(texts)]  # fmt: skip
    sections = [
        "1 Purpose",
        "2 Terms",
        "3 Materials",
        "4 Dimensions",
        "5 Performance",
        "6 Testing",
        "7 Marking and packing",
    ]
    return joined(
        r.choice(
            (
                f"Specification {part} {code(r, 'K', 'S', 'TD')}",
                f"{part.capitalize()}: requirements",
                f"Data sheet: {part}",
                f"Technical delivery conditions for the {part}",
            )
        ),
        [f"Revision {r.choice('ABCDE')}, {date(r)}", f"Author: {person(r)}", f"Drawing {code(r, 'D', 'Z')}"][
            : r.randint(0, 3)
        ],
        [line for pair in zip(some(r, sections, 3, 6, True), lines, strict=False) for line in pair],
        lines[6:],
    )


@maker("invoice")
def billed(r: random.Random) -> str:
    """An invoice as a letter with sentences, or as the rows of a sheet."""
    number, total = code(r, "INV", "2026", "R", "AR"), money(r)
    pay = f"Please transfer {total} by {date(r)} to IBAN {r.choice(('GB', 'DE', 'FR'))}{r.randint(10**14, 10**16)}."
    sheet = [
        "Item\tQty\tPrice\tTotal",
        *rows(r, 2, 8),
        f"Net\t{money(r)}",
        f"VAT\t{money(r)}",
        f"To pay\t{total}",
        f"Invoice no.\t{number}",
        f"Due\t{date(r)}",
    ]
    letter = [
        f"{company(r)}\n{address(r)}",
        f"Invoice {number}",
        f"Dear {r.choice(('Sir or Madam', person(r), 'customer'))},",
        r.choice(("for our deliveries we invoice you as follows:", f"we charge for the work on the {r.choice(PARTS)}:")),
        *rows(r, 1, 5),
        f"Sum {money(r)}, plus VAT {money(r)}, together {total}.",
        some(r, [pay, "The goods remain our property until paid for.", f"Three per cent are taken off for payment within {r.randint(5, 14)} days.", f"The account number of {r.choice(TOWN)} branch has changed."], 1, 4),
    ]  # fmt: skip
    return joined(*([r.choice([*sheet[:1], f"{company(r)}: invoice"]), *sheet] if r.random() < 0.4 else letter))


@maker("incident_report")
def told(r: random.Random) -> str:
    """What happened to whom, why, and what is changed: told in order."""
    who, part, place = (
        person(r),
        r.choice(PARTS),
        r.choice(("hall 2", "the yard", "the loading bay", "the workshop", "the stairs")),
    )
    facts = [f"Date and time: {date(r)}, {r.randint(5, 22)}:{r.randint(10, 59)}", f"Place: {place}", f"Person hurt: {who}", f"Reported by: {person(r)}", f"Days lost: {r.randint(0, 20)}", f"Number: {code(r, 'IR', '2026', 'ACC')}"]  # fmt: skip
    story = f"{who} was working at the {part} in {place} when {r.choice(('the cover came down', 'a hose burst', 'a pallet slipped', 'the guard opened while it was running'))}. {r.choice(('The hand was bruised.', 'Nobody was hurt.', 'First aid was given at once.', 'The area was closed off.'))}"
    why = r.choice(("The brake was worn.", "There was oil on the floor.", "The check after the repair had been left out.", "The work instruction did not mention it."))  # fmt: skip
    done = [f"{text} {person(r)}, by {date(r)}." for text in several(r, ["Repair the {part}.", "Tell all shifts.", "Add it to the weekly check.", "Order a new guard.", "Train {k} people.", "Mark the way."], 2, 5)]  # fmt: skip
    return joined(
        r.choice(
            (
                f"Incident report {code(r, '2026', 'IR')}",
                "Report of an accident at work",
                f"Accident on {date(r)}",
                "Near miss: report and measures",
            )
        ),
        some(r, facts, 3, 6, True),
        r.choice(("Course of events", "What happened", "Description")),
        story,
        r.choice(("Cause", "Why it happened", "Investigation")),
        why,
        r.choice(("Measures", "Corrective measures", "What we change")),
        done,
    )


@maker("policy")
def rules(r: random.Random) -> str:
    """Rules in numbered clauses: who may what, up to how much, by whose leave."""
    about = r.choice(("business travel", "annual leave", "passwords and devices", "gifts", "company cars", "home office", "purchasing", "smoking", "use of e-mail", "visitors", "expenses"))  # fmt: skip
    clauses = (
        f"Trips are approved by the head of department before they are booked.|Up to {r.randint(20, 200)} a night is paid for a hotel.|First class is not paid for.|Everyone has {r.randint(20, 33)} days a year; unused ones "
        f"lapse in {r.randint(2, 10)} months.|Requests are made {r.randint(1, 8)} weeks ahead.|A password has at least {r.randint(8, 16)} characters and is never passed on.|Devices are locked when left.|"
        f"Gifts above {r.randint(10, 100)} are refused or handed in.|Receipts are kept for {r.randint(1, 10)} years.|Who breaks these rules may be warned or dismissed.|Exceptions need the written consent of the management.|"
        f"Lost devices are reported within {r.randint(1, 24)} hours.|Visitors are never left alone.|Private use is allowed within reason.|These rules apply to all employees and to temporary workers."
    ).split("|")
    texts = some(r, clauses, 6, 12)
    return joined(
        r.choice(
            (
                f"Policy: {about}",
                f"{about.capitalize()} policy",
                f"{company(r)}\n\nRules for {about}",
                f"Directive on {about}",
            )
        ),
        some(
            r, [f"Valid from {date(r)}", f"Owner: {r.choice(ROLE)}", f"Issue {r.randint(1, 9)}", "For all sites"], 1, 4
        ),
        [f"{n // 3 + 1}.{n % 3 + 1} {text}" for n, text in enumerate(texts)],
        r.choice(("", f"Approved: {person(r)}", f"Contact: {r.choice(SYSTEM)} team", f"See also: {r.choice(TOPIC)}")),
    )
