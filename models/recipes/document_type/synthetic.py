"""Generated business documents: variety where the public sets have one source and one template a class.

Each class has several openings, a pool of parts of which some are drawn in some order, and slots filled from word lists.
The result looks like the text of a parsed file: blocks parted by blank lines, tables as rows. No name or sentence is
taken from a real document.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

FIRST = "Ada Ben Carla David Elif Farid Grace Hugo Ines Jonas Kira Leo Mina Noor Oskar Priya Rosa Sam Tomas Una Vera Wim Yara Zoe".split()
LAST = "Abel Brandt Castell Dorn Eklund Ferrer Gruber Hale Iyer Jansen Kovac Lindqvist Moreau Novak Okafor Petrov Quist Rao Sato Thorne Ulrich Vance Weber Young".split()
STEM = "Alder Birch Cobalt Dune Ember Falcon Granite Harbour Iron Juniper Kestrel Lumen Meadow North Orchard Pine Quarry River Slate Tidal Umber Vale Willow".split()
FORM = "Ltd|GmbH|Inc.|B.V.|LLP|Works|Logistics|Instruments|Foods|Energy|Textiles|Systems|& Sons|Holdings|Engineering".split(
    "|"
)
STREET = "Mill Lane|Station Road|Harbour Street|Oak Avenue|Market Square|Foundry Way|Canal Street|Park Row".split("|")
TOWN = "Northbridge Easthaven Westmere Southfield Kingsford Ashby Lakeview Millport Stonegate Riverton".split()
MONTH = "January February March April May June July August September October November December".split()
ITEM = (
    "ball bearing|hydraulic hose|office chair|laser printer|cable drum|safety gloves|filter cartridge|steel bracket|"
    "consulting services|software licence|catering for workshop|maintenance visit|pallet of paper|LED panel|pump seal|"
    "control valve|laptop|translation work|cleaning service|courier delivery|timber board|paint, white|gear motor|sensor"
).split("|")
TOPIC = (
    "pump station|warehouse move|annual budget|customer portal|recruiting plan|fleet renewal|safety programme|"
    "supplier audit|training calendar|data migration|office refurbishment|energy savings|quality targets|product launch"
).split("|")
ROLE = "project manager|mechanical engineer|accountant|data analyst|buyer|nurse|software developer|site supervisor|sales assistant|lab technician".split(
    "|"
)
SKILL = "Python|welding|bookkeeping|negotiation|AutoCAD|SQL|first aid|stock control|public speaking|Excel|project planning|German|French|quality assurance".split(
    "|"
)
SYSTEM = "VPN|printer on floor 2|payroll application|e-mail client|door badge|shared drive|laptop docking station|booking system|phone line|label scanner".split(
    "|"
)
MAKERS: dict[str, list[Callable[[random.Random], str]]] = {}


def generate(each: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """``each`` documents of every class as (label, text)."""
    for label, makers in MAKERS.items():
        for number in range(each):
            yield label, roughened(makers[number % len(makers)](rng), rng)


def maker(label: str) -> Callable[[Callable[[random.Random], str]], Callable[[random.Random], str]]:
    def register(function: Callable[[random.Random], str]) -> Callable[[random.Random], str]:
        MAKERS.setdefault(label, []).append(function)
        return function

    return register


def roughened(text: str, rng: random.Random) -> str:
    """What parsers and scanners do to a text: lost blank lines, lost letters, another case."""
    chance = rng.random()
    if chance < 0.1:
        return re.sub(r"\n+", "\n", text)
    if chance < 0.16:
        return re.sub(r"\s+", " ", text)
    if chance < 0.24:
        return "".join("" if rng.random() < 0.01 else rng.choice("il1o0 ") if rng.random() < 0.01 else c for c in text)
    if chance < 0.28:
        return text.lower()
    if chance < 0.31:
        return text.upper()
    return text


def person(r: random.Random) -> str:
    return f"{r.choice(FIRST)} {r.choice(LAST)}"


def company(r: random.Random) -> str:
    return f"{r.choice(STEM)}{r.choice(['', ' ' + r.choice(STEM), r.choice(STEM).lower()])} {r.choice(FORM)}"


def address(r: random.Random) -> str:
    return f"{r.randint(1, 240)} {r.choice(STREET)}, {r.choice(TOWN)} {r.randint(1000, 99999)}"


def date(r: random.Random) -> str:
    day, month, year = r.randint(1, 28), r.randint(1, 12), r.randint(2012, 2031)
    forms = (
        f"{day} {MONTH[month - 1]} {year}",
        f"{year}-{month:02}-{day:02}",
        f"{day:02}/{month:02}/{year}",
        f"{MONTH[month - 1]} {day}, {year}",
    )
    return r.choice(forms)


def money(r: random.Random) -> str:
    amount = r.choice((r.uniform(2, 90), r.uniform(90, 4000), r.uniform(4000, 90000)))
    return r.choice(
        (
            f"EUR {amount:,.2f}",
            f"{amount:,.2f} €",
            f"${amount:,.2f}",
            f"£{amount:,.2f}",
            f"INR {amount:,.0f}",
            f"{amount:,.2f}",
        )
    )


def code(r: random.Random, *prefixes: str) -> str:
    return f"{r.choice(prefixes)}{r.choice(['-', '', '/', ' '])}{r.randint(100, 999999)}"


def some(r: random.Random, parts: list[str], least: int, most: int, keep_order: bool = False) -> list[str]:
    chosen = r.sample(range(len(parts)), min(len(parts), r.randint(least, most)))
    return [parts[i] for i in (sorted(chosen) if keep_order else chosen)]


def rows(r: random.Random, least: int = 1, most: int = 7, prices: bool = True) -> list[str]:
    lines = []
    bar = r.choice((" | ", "  ", "\t", " "))
    for number in range(1, r.randint(least, most) + 1):
        cells = [
            str(number),
            f"{r.choice(ITEM)}{r.choice(['', ' ' + code(r, 'A', 'PN', 'X')])}",
            f"{r.randint(1, 400)} {r.choice(['pcs', 'h', 'kg', 'm', ''])}".strip(),
        ]
        lines.append(bar.join([*cells, *([money(r), money(r)] if prices else [])]))
    return lines


def joined(*blocks: str | list[str]) -> str:
    flat = [b for block in blocks for b in ([block] if isinstance(block, str) else block)]
    return "\n\n".join(b for b in flat if b)


@maker("invoice")
def invoice(r: random.Random) -> str:
    head = [
        r.choice(
            (
                "INVOICE",
                "Invoice",
                "Tax Invoice",
                "Sales invoice",
                f"Invoice no. {code(r, 'INV', 'R', '20')}",
                "COMMERCIAL INVOICE",
            )
        ),
        company(r),
        address(r),
    ]
    facts = [
        f"Invoice number: {code(r, 'INV', 'RE', '2026', 'F')}",
        f"Invoice date: {date(r)}",
        f"{r.choice(['Due date', 'Payment due', 'Please pay by'])}: {date(r)}",
        f"{r.choice(['Bill to', 'Billed to', 'Customer', 'Sold to'])}: {company(r)}, {address(r)}",
        f"Your order: {code(r, 'PO', 'B')}",
        f"VAT ID: {r.choice(['DE', 'GB', 'NL', 'IN'])}{r.randint(10**7, 10**9)}",
        f"Attention: {person(r)}, accounts payable",
    ]
    table = [
        r.choice(
            (
                "Pos | Description | Quantity | Unit price | Amount",
                "Item Description Qty Price Total",
                "Description\tQty\tRate\tAmount",
            )
        ),
        *rows(r),
    ]
    totals = [
        f"{r.choice(['Subtotal', 'Net amount', 'Sum'])} {money(r)}",
        f"{r.choice(['VAT 19 %', 'VAT 20%', 'GST 18%', 'Sales tax'])} {money(r)}",
        f"{r.choice(['Total due', 'Amount due', 'Invoice total', 'TOTAL', 'Balance due'])}: {money(r)}",
    ]
    foot = [
        f"Payment within {r.choice([7, 14, 30, 45, 60])} days without deduction.",
        f"Bank: {company(r)} Bank, IBAN {r.choice(['DE', 'GB', 'NL'])}{r.randint(10**15, 10**16)}",
        "Please quote the invoice number with your payment.",
        "We charge interest on late payment.",
        "Thank you for your business.",
    ]
    return joined(some(r, head, 2, 3), some(r, facts, 3, 7), table, some(r, totals, 2, 3, True), some(r, foot, 1, 4))


@maker("purchase_order")
def purchase_order(r: random.Random) -> str:
    head = [
        r.choice(
            (
                "PURCHASE ORDER",
                "Purchase Order",
                f"Purchase order {code(r, 'PO', '45')}",
                "Order to supplier",
                "PO confirmation requested",
            )
        ),
        company(r),
    ]
    facts = [
        f"{r.choice(['PO number', 'Order number', 'Purchase order no.'])}: {code(r, 'PO', '45')}",
        f"Order date: {date(r)}",
        f"{r.choice(['Supplier', 'Vendor', 'To'])}: {company(r)}, {address(r)}",
        f"{r.choice(['Ship to', 'Deliver to'])}: {address(r)}",
        f"Requested delivery: {date(r)}",
        f"Buyer: {person(r)}",
        f"Terms: {r.choice(['net 30', 'net 60', 'DAP', 'ex works', 'FCA'])}",
        f"Your quotation: {code(r, 'Q', 'QU')} of {date(r)}",
    ]
    foot = [
        "Please confirm this order within three working days.",
        "Please supply the following goods subject to our general terms of purchase.",
        "The order number must appear on all invoices and delivery notes.",
        f"Order total: {money(r)}",
        f"Authorised by: {person(r)}",
        "Partial deliveries only after agreement.",
    ]
    return joined(
        head, some(r, facts, 4, 8), ["Line | Part | Description | Quantity | Price", *rows(r)], some(r, foot, 2, 5)
    )


@maker("delivery_note")
def delivery_note(r: random.Random) -> str:
    head = [
        r.choice(
            (
                "DELIVERY NOTE",
                "Delivery Note",
                "Packing slip",
                "Goods dispatch note",
                "Consignment note",
                "Shipping order",
            )
        ),
        company(r),
    ]
    facts = [
        f"Delivery note no.: {code(r, 'DN', 'L', 'DEL')}",
        f"{r.choice(['Delivery date', 'Dispatched', 'Shipped on'])}: {date(r)}",
        f"Your order: {code(r, 'PO', '45')}",
        f"Deliver to: {company(r)}, {address(r)}",
        f"Carrier: {company(r)}",
        f"Gross weight: {r.randint(1, 900)} kg in {r.randint(1, 12)} packages",
        f"Tracking number: {code(r, 'TRK', 'CN')}",
        f"Driver: {person(r)}, vehicle {code(r, 'N', 'K')}",
    ]
    foot = [
        "Received in good condition: ____________________",
        "Goods received by (name, signature, date)",
        "Please check the goods on arrival and report damage within 48 hours.",
        "This is not an invoice. No prices are shown.",
        "Back order: none",
    ]
    return joined(
        head, some(r, facts, 4, 8), ["Pos. Article Quantity delivered", *rows(r, prices=False)], some(r, foot, 1, 4)
    )


@maker("receipt")
def receipt(r: random.Random) -> str:
    lines = [
        f"{r.choice(['Coffee', 'Sandwich', 'Taxi fare', 'Parking', 'Batteries', 'Notebook', 'Lunch menu', 'Train ticket', 'Diesel', 'Paper towels', 'Tea', 'Screws M6'])} {r.choice(['', 'x2 ', '1 '])}{r.uniform(1, 60):.2f}"
        for _ in range(r.randint(1, 8))
    ]
    head = [
        company(r).upper(),
        address(r),
        f"Tel {r.randint(100000, 9999999)}",
        f"{date(r)} {r.randint(7, 21):02}:{r.randint(0, 59):02}",
        f"{r.choice(['Till', 'Cashier', 'Terminal', 'Table'])} {r.randint(1, 20)}",
        r.choice(
            ("RECEIPT", "CASH RECEIPT", "Sales receipt", "SIMPLIFIED INVOICE", f"Receipt no. {r.randint(100, 99999)}")
        ),
    ]
    foot = [
        f"TOTAL {r.uniform(2, 200):.2f}",
        f"{r.choice(['CASH', 'CARD', 'VISA ****', 'Contactless'])} {r.uniform(2, 200):.2f}",
        f"CHANGE {r.uniform(0, 20):.2f}",
        f"VAT incl. {r.uniform(0, 20):.2f}",
        "Thank you for your visit",
        "Please keep this receipt",
        "Goods sold are not returnable",
    ]
    glue = r.choice(("\n", "\n\n"))
    return glue.join([*some(r, head, 3, 6), *lines, *some(r, foot, 3, 7, True)])


@maker("contract")
def contract(r: random.Random) -> str:
    a, b = company(r), company(r)
    kind = r.choice(
        (
            "Services Agreement",
            "Non-Disclosure Agreement",
            "Lease Agreement",
            "Supply Agreement",
            "Maintenance Contract",
            "Consultancy Agreement",
            "Framework Agreement",
            "Employment Contract",
            "Licence Agreement",
            "Confidentiality Agreement",
            "Commercial Lease",
        )
    )
    intro = r.choice(
        (
            f'This {kind} (the "Agreement") is made on {date(r)} between {a} and {b}.',
            f"between {a}, {address(r)} (the Client) and {b}, {address(r)} (the Contractor)",
            f'THIS AGREEMENT is entered into as of {date(r)} by and between {a} ("Party A") and {b} ("Party B").',
            f"PARTIES (1) {a} (the Landlord) (2) {b} (the Tenant)",
        )
    )
    clauses = [
        f"Term. This Agreement starts on {date(r)} and continues for {r.randint(1, 10)} years unless terminated earlier.",
        f"Termination. Either party may terminate this Agreement by giving {r.choice(['thirty days', 'three months', '60 days', 'six months'])} written notice.",
        "Confidentiality. Each party shall keep secret all Confidential Information received from the other party.",
        f"Fees. The Client shall pay {money(r)} per {r.choice(['month', 'quarter', 'year'])}, payable in advance.",
        f"Governing law. This Agreement is governed by the law of {r.choice(['England and Wales', 'Germany', 'India', 'the Netherlands', 'the State of New York'])}.",
        "Liability. Neither party is liable for indirect or consequential loss. Nothing in this Agreement limits liability for fraud.",
        "Force majeure. Neither party is in breach where performance is prevented by events beyond its reasonable control.",
        "Entire agreement. This Agreement supersedes all prior understandings between the parties.",
        f"Rent. The Tenant shall pay an annual rent of {money(r)} by equal monthly instalments.",
        f"Service levels. The Contractor shall respond to a fault within {r.randint(2, 48)} hours of notice.",
        "Assignment. Neither party may assign its rights without the prior written consent of the other.",
        "Data protection. The Contractor shall process personal data only on documented instructions.",
        "Intellectual property. All rights in the deliverables vest in the Client upon payment.",
    ]
    numbered = [
        f"{r.choice(['', '§ ', 'Clause ', 'Article '])}{i}. {c}" for i, c in enumerate(some(r, clauses, 4, 10), 1)
    ]
    end = r.choice(
        (
            f"Signed for {a}: ________ Signed for {b}: ________",
            f"IN WITNESS WHEREOF the parties have executed this Agreement. {person(r)}, Director",
            f"Signed by {person(r)} on behalf of {b}",
            "",
        )
    )
    return joined(kind if r.random() < 0.8 else kind.upper(), intro, numbered, end)


@maker("policy")
def policy(r: random.Random) -> str:
    about = r.choice(
        (
            "Travel and Expenses",
            "Information Security",
            "Leave and Absence",
            "Remote Work",
            "Data Retention",
            "Acceptable Use",
            "Anti-Bribery",
            "Health and Safety",
            "Procurement",
            "Privacy",
            "Equal Opportunities",
            "Password",
            "Whistleblowing",
            "Gifts and Hospitality",
        )
    )
    parts = [
        f"Purpose. This policy sets out how {company(r)} handles {about.lower()} and what is expected of everyone.",
        "Scope. It applies to all employees, contractors and temporary staff.",
        f"Responsibilities. The {r.choice(['head of finance', 'security officer', 'people team', 'managing director'])} owns this policy and reviews it every {r.choice(['year', 'two years', 'six months'])}.",
        f"Employees must obtain approval from their manager before spending more than {money(r)}.",
        f"Employees are entitled to {r.randint(20, 32)} days of paid leave a year; requests must be made {r.randint(1, 6)} weeks ahead.",
        "Passwords must have at least twelve characters and must not be shared with anyone.",
        "Exceptions must be approved in writing and are recorded in a register.",
        "Breaches of this policy may lead to disciplinary action, up to and including dismissal.",
        f"Claims must be submitted within {r.randint(7, 90)} days with original receipts.",
        "Personal data is kept no longer than is needed for the purpose for which it was collected.",
        "Staff must report incidents to the service desk at once and must not try to investigate themselves.",
        "Laptops must be encrypted and locked when left unattended.",
        f"Questions about this policy should be sent to policy@{r.choice(STEM).lower()}.example.",
    ]
    facts = some(
        r,
        [
            f"Version {r.randint(1, 9)}.{r.randint(0, 9)}",
            f"Effective from {date(r)}",
            f"Approved by: {person(r)}",
            f"Document owner: {person(r)}",
            "Internal",
        ],
        1,
        4,
    )
    return joined(
        r.choice((f"{about} Policy", f"{about.upper()} POLICY", f"Policy on {about}", f"Company policy: {about}")),
        facts,
        some(r, parts, 5, 11, r.random() < 0.6),
    )


@maker("email")
def email(r: random.Random) -> str:
    topic = r.choice(TOPIC)
    a, b = person(r), person(r)
    mail = lambda name: f"{name.lower().replace(' ', '.')}@{r.choice(STEM).lower()}.example"  # noqa: E731
    head = some(
        r,
        [
            f"From: {a} <{mail(a)}>",
            f"To: {b} <{mail(b)}>",
            f"Subject: {r.choice(['Re: ', '', 'Fwd: ', 'AW: '])}{topic}",
            f"Date: {date(r)}",
            f"Cc: {mail(person(r))}",
        ],
        2,
        5,
        True,
    )
    body = [
        f"thanks for the quick reply about the {topic}.",
        f"Could you send me the figures for the {r.choice(TOPIC)} by {r.choice(['Friday', 'tomorrow', 'end of the week', date(r)])}?",
        "I have attached the document we talked about on the phone.",
        f"I'm out of the office until {date(r)}; {person(r)} can help in the meantime.",
        "Let me know if that works for you, otherwise we can move the call.",
        f"The supplier confirmed the price of {money(r)}, so from my side we can go ahead.",
        "Sorry for the short notice, something came up here.",
        "Can we talk about this on Monday? I'd rather not decide by mail.",
        "Please find attached our offer. It is valid for thirty days.",
        "Just a reminder that the visitors arrive at nine; somebody should pick them up at reception.",
    ]
    greet, close = (
        r.choice(("Hi", "Dear", "Hello", "Good morning")),
        r.choice(("Best regards", "Kind regards", "Cheers", "Thanks", "Many thanks", "Yours sincerely")),
    )
    return joined(
        head,
        f"{greet} {b.split()[0]},",
        some(r, body, 2, 6),
        f"{close},\n{a}",
        r.choice(
            (
                "",
                f"-----Original Message-----\nFrom: {b}\n{r.choice(body)}",
                f"{r.choice(ROLE)} | {company(r)} | {address(r)}",
            )
        ),
    )


@maker("minutes")
def minutes(r: random.Random) -> str:
    people = [person(r) for _ in range(r.randint(3, 7))]
    head = r.choice(
        (
            f"Minutes of the {r.choice(TOPIC)} meeting",
            "MINUTES OF MEETING",
            f"Meeting minutes, {date(r)}",
            f"Notes of the weekly meeting of {date(r)}",
            "Board meeting minutes",
            "Works council: minutes",
        )
    )
    items = [
        f"{r.choice(people)} reported on the {r.choice(TOPIC)}. It was agreed to continue as planned.",
        f"Action: {r.choice(people)} to prepare a proposal by {date(r)}.",
        f"Decision: the budget of {money(r)} was approved unanimously.",
        "The minutes of the last meeting were approved without changes.",
        f"{r.choice(people)} asked about the delay of the {r.choice(TOPIC)}; {r.choice(people)} explained the reasons.",
        f"Next meeting: {date(r)}, {r.randint(8, 17)}:00, room {r.randint(1, 30)}.",
        f"The meeting was closed at {r.randint(10, 18)}:{r.randint(10, 59)}.",
        "Any other business: none.",
        f"{r.choice(people)} suggested to postpone the topic. No one objected.",
    ]
    facts = some(
        r,
        [
            f"Date: {date(r)}",
            f"Place: room {r.randint(1, 30)}",
            f"Present: {', '.join(people)}",
            f"Apologies: {person(r)}",
            f"Chair: {people[0]}",
            f"Minutes taken by: {people[1]}",
        ],
        3,
        6,
        True,
    )
    agenda = (
        [f"{i}. {line}" for i, line in enumerate(some(r, items, 4, 9, True), 1)]
        if r.random() < 0.6
        else some(r, items, 4, 9, True)
    )
    return joined(head, facts, agenda)


@maker("support_ticket")
def support_ticket(r: random.Random) -> str:
    system = r.choice(SYSTEM)
    facts = some(
        r,
        [
            f"Ticket: {code(r, 'INC', 'TCK', '#', 'REQ')}",
            f"Priority: {r.choice(['low', 'medium', 'high', 'P1', 'P3'])}",
            f"Status: {r.choice(['open', 'closed', 'in progress', 'waiting for user', 'resolved'])}",
            f"Reported by: {person(r)}",
            f"Assigned to: {r.choice(['service desk', 'second level', person(r)])}",
            f"Category: {r.choice(['hardware', 'access', 'software', 'network'])}",
            f"Opened: {date(r)}",
        ],
        3,
        7,
        True,
    )
    text = [
        f"My {system} does not work since this morning. I get the error {code(r, 'E', '0x')}.",
        f"I cannot log in to the {system}; it says that my account is locked.",
        "I have restarted the computer twice, no change.",
        f"Please give me access to the {r.choice(SYSTEM)}, my manager {person(r)} has agreed.",
        "Could someone have a look? I need it for a customer visit.",
        f"{date(r)} service desk: asked the user for a screenshot.",
        f"{date(r)} second level: driver reinstalled, user confirms that it works.",
        "Solution: password reset and cache cleared. Ticket closed after confirmation by the user.",
        "Steps to reproduce: open the application, choose print, wait.",
        "Several colleagues on our floor have the same problem.",
    ]
    return joined(
        r.choice(
            (
                f"Support ticket: {system}",
                f"Service request {code(r, 'REQ', 'SR')}",
                f"{system} not working",
                f"Helpdesk ticket {r.randint(1000, 99999)}",
                "",
            )
        ),
        facts,
        some(r, text, 2, 7, True),
    )


@maker("resume")
def resume(r: random.Random) -> str:
    years = sorted(r.sample(range(1995, 2027), 6), reverse=True)
    jobs = [
        f"{years[i + 1]} - {years[i]}  {r.choice(ROLE).capitalize()}, {company(r)}, {r.choice(TOWN)}"
        for i in range(r.randint(2, 4))
    ]
    done = [
        f"Led the {r.choice(TOPIC)} with a team of {r.randint(2, 20)}.",
        f"Cut costs by {r.randint(3, 40)} % in {r.randint(1, 3)} years.",
        "Responsible for daily operations and reporting.",
        f"Trained {r.randint(2, 30)} colleagues in {r.choice(SKILL)}.",
    ]
    school = r.choice(
        (
            f"BSc {r.choice(['Mechanical Engineering', 'Economics', 'Computer Science'])}, University of {r.choice(TOWN)}, {years[-1]}",
            f"Apprenticeship as {r.choice(ROLE)}, {r.choice(TOWN)} Technical College",
        )
    )
    blocks = [
        ["Work experience", *jobs, *some(r, done, 1, 4)],
        ["Education", school],
        ["Skills", ", ".join(r.sample(SKILL, r.randint(3, 8)))],
        ["Languages", "English (native), German (B2)"],
        ["Profile", f"{r.choice(ROLE).capitalize()} with {r.randint(2, 25)} years of experience."],
        ["References available on request."],
        ["Interests", "Hiking, chess, choir"],
    ]
    r.shuffle(blocks)
    name = person(r)
    return joined(
        r.choice(("Curriculum Vitae", "CV", "Resume", "")),
        [name, address(r), f"{name.split()[0].lower()}@mail.example, +{r.randint(10, 99)} {r.randint(10**6, 10**8)}"],
        *blocks[: r.randint(4, 7)],
    )


@maker("job_description")
def job_description(r: random.Random) -> str:
    role = r.choice(ROLE)
    parts = [
        "Your responsibilities",
        f"You plan and run the {r.choice(TOPIC)}.",
        "You report to the head of department.",
        "What we expect",
        f"At least {r.randint(1, 8)} years of experience as a {role}.",
        f"Good knowledge of {r.choice(SKILL)} and {r.choice(SKILL)}.",
        "What we offer",
        f"A salary from {money(r)} a year, {r.randint(25, 32)} days of holiday and a pension plan.",
        "Flexible working hours and remote work two days a week.",
        f"Apply by {date(r)} with your CV to jobs@{r.choice(STEM).lower()}.example.",
        "We welcome applications from all backgrounds.",
    ]
    return joined(
        r.choice(
            (
                f"Job description: {role}",
                f"We are hiring: {role} (m/f/d)",
                f"Vacancy: {role.title()}",
                f"Position: {role}",
            )
        ),
        f"{company(r)} in {r.choice(TOWN)} is looking for a {role}.",
        some(r, parts, 6, 11, True),
    )


@maker("specification")
def specification(r: random.Random) -> str:
    part = r.choice(ITEM)
    lines = [
        f"The {part} shall withstand a pressure of {r.randint(2, 400)} bar at {r.randint(20, 300)} °C.",
        f"Dimensions: {r.randint(5, 900)} x {r.randint(5, 900)} x {r.randint(2, 90)} mm, tolerance ± {r.uniform(0.01, 2):.2f} mm.",
        f"Material: {r.choice(['stainless steel 1.4404', 'aluminium 6061', 'PTFE', 'cast iron EN-GJL-250'])}.",
        f"Supply voltage: {r.choice([12, 24, 110, 230, 400])} V, power {r.randint(5, 5000)} W.",
        "The interface shall return an error code when a request is malformed.",
        f"REQ-{r.randint(1, 200)}: the system shall store at least {r.randint(2, 90)} days of measurements.",
        f"Protection class IP{r.choice([44, 54, 65, 67])}.",
        f"Tests: each unit is tested to {r.randint(100, 150)} % of the rated load according to ISO {r.randint(1000, 19999)}.",
        "Marking: type, serial number and year of manufacture shall be legible and permanent.",
        f"Revision {r.choice('ABCDEF')} of {date(r)} replaces all earlier revisions.",
        f"Mass: {r.uniform(0.1, 400):.1f} kg. Ambient temperature: -{r.randint(5, 40)} to +{r.randint(35, 85)} °C.",
    ]
    head = r.choice(
        (
            f"Technical Specification: {part}",
            f"Specification {code(r, 'SPEC', 'TS')}",
            f"Data sheet {part} {code(r, 'PN', 'PPR', 'K')}",
            f"Product specification, {part}",
            f"Requirements specification: {r.choice(TOPIC)}",
        )
    )
    sections = ["1 Scope", "2 Normative references", "3 Requirements", "4 Verification", "5 Delivery"]
    return joined(head, some(r, sections, 0, 3, True), some(r, lines, 5, 11))


@maker("incident_report")
def incident_report(r: random.Random) -> str:
    lines = [
        f"Summary: on {date(r)} the {r.choice(SYSTEM)} was unavailable for {r.randint(5, 400)} minutes.",
        f"What happened: at {r.randint(0, 23):02}:{r.randint(0, 59):02} a {r.choice(['forklift hit a rack', 'pipe burst', 'disk failed', 'certificate expired', 'worker slipped on a wet floor'])}.",
        f"Impact: {r.randint(2, 900)} users were affected; no data was lost.",
        "Root cause: a change was deployed without review.",
        f"Timeline: {r.randint(8, 11)}:05 alarm. {r.randint(11, 13)}:20 team informed. {r.randint(14, 18)}:40 service restored.",
        "Nobody was injured.",
        f"Injured person: {person(r)}, first aid given by {person(r)}.",
        f"Corrective action: {r.choice(['add a check', 'repair the floor', 'replace the part', 'train the shift'])} by {date(r)}, owner {person(r)}.",
        "Lessons learned: the runbook was out of date.",
        "Witnesses: " + person(r),
    ]
    return joined(
        r.choice(
            (
                "Incident report",
                "Accident Report Form",
                f"Post-incident review {code(r, 'INC', 'PIR')}",
                "Postmortem",
                "Near-miss report",
            )
        ),
        f"Date of incident: {date(r)}",
        some(r, lines, 4, 9, r.random() < 0.7),
    )


@maker("report")
def report(r: random.Random) -> str:
    topic = r.choice(TOPIC)
    lines = [
        f"Revenue rose by {r.randint(1, 30)} % to {money(r)} compared with the same quarter of the previous year.",
        f"The {topic} is {r.randint(1, 12)} weeks behind schedule.",
        f"Of {r.randint(10, 300)} items inspected, {r.randint(0, 20)} showed defects.",
        "Key findings",
        "Recommendations",
        "Executive summary",
        "Conclusion",
        "Outlook",
        f"We recommend to continue the {r.choice(TOPIC)} and to review it in {r.choice(MONTH)}.",
        f"Costs fell to {money(r)}, mainly because of lower energy prices.",
        f"Table {r.randint(1, 9)}: results by site. {r.choice(TOWN)} {r.randint(1, 99)} %, {r.choice(TOWN)} {r.randint(1, 99)} %.",
        f"The inspection of {date(r)} covered the {r.choice(TOPIC)} and found it in good order.",
        f"Headcount at the end of the period was {r.randint(10, 900)}.",
        "The figures are unaudited.",
        f"Main risks: supplier delays, exchange rates and the {r.choice(TOPIC)}.",
    ]
    head = r.choice(
        (
            f"{r.choice(['Quarterly', 'Annual', 'Monthly', 'Half-year'])} report {r.randint(2015, 2030)}",
            f"Report on the {topic}",
            f"Inspection report {code(r, 'IR', 'REP')}",
            f"Status report: {topic}",
            f"{topic.capitalize()}: progress report",
            "Management report",
        )
    )
    return joined(
        head,
        some(
            r,
            [
                f"Prepared by {person(r)}",
                date(r),
                company(r),
                f"Reporting period: {r.choice(MONTH)} to {r.choice(MONTH)}",
            ],
            1,
            3,
        ),
        some(r, lines, 6, 12),
    )


@maker("guide")
def guide(r: random.Random) -> str:
    tool = r.choice(SYSTEM)
    lines = [
        f"To set up the {tool}, open the settings and choose Add.",
        "Welcome to the team! This page tells you how we work together.",
        "Step 1: sign in with your work account. Step 2: choose your language.",
        "We hold a short stand-up every morning.",
        "Tip: you can use the keyboard shortcut instead.",
        "Frequently asked questions",
        f"If the {tool} does not respond, restart it and try again.",
        "New starters receive their laptop and badge at reception on the first day.",
        "Before you begin, make sure that you have the right permissions.",
        "How we write: short sentences, plain words.",
        "For details see the next chapter.",
    ]
    return joined(
        r.choice(
            (
                f"User guide: {tool}",
                "Employee handbook",
                f"How to use the {tool}",
                "Handbook: working at " + company(r),
                "Getting started",
                "Onboarding guide",
            )
        ),
        some(r, lines, 5, 10),
    )


@maker("other")
def other(r: random.Random) -> str:
    a, b = person(r), r.choice(TOWN)
    poems = [
        f"{a} walked down to the river in {b} and watched the boats until the light was gone.",
        f"Recipe: take {r.randint(100, 500)} g of flour, two eggs and a little salt, knead well and let it rest.",
        f"The {b} choir sings on Saturday at {r.randint(15, 20)}:00; admission is free, cake afterwards.",
        f"For sale: bicycle, {r.randint(2, 20)} years old, good brakes, {money(r)}.",
        "Lunch menu of the week: soup, pasta, fish, dumplings, salad.",
        f"{b} beat {r.choice(TOWN)} {r.randint(0, 5)} to {r.randint(0, 5)} in a match that nobody will remember.",
        f"Dear {r.choice(FIRST)}, the garden is full of apples this year and the dog is getting old.",
        "Once upon a time there was a lighthouse keeper who collected clouds.",
        "The museum shows maps and instruments of early navigators until the end of spring.",
        f"Timetable: bus {r.randint(1, 99)} leaves {b} at {r.randint(5, 9)}:{r.randint(10, 59)} and every {r.randint(10, 60)} minutes after that.",
        f"Happy birthday, {r.choice(FIRST)}! Party at our place, bring a friend and something to drink.",
        f"id,name,value\n1,{r.choice(STEM)},{r.randint(1, 999)}\n2,{r.choice(STEM)},{r.randint(1, 999)}\n3,{r.choice(STEM)},{r.randint(1, 999)}",
    ]
    return joined(some(r, poems, 1, 6))
