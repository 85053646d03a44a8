"""One more template for each class, by other words and another order, which nobody trains on: only calibration reads them. A
classifier that was tried on the templates it learned from believes itself on every other one; thresholds found here do not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from models.recipes.document_type.synthetic import address, code, company, date, money, person, roughened, some

#: Class to its template: lines of which some are drawn, and how many.
GOODS = "rope|kettle|envelope|drill bit|lamp|ladder|garden hose|toner|tarpaulin|wheelbarrow|first-aid kit|whiteboard|bucket".split(
    "|"
)
PLACES = (
    "reception|the north car park|room 12|the greenhouse|our shop|the archive|the ferry terminal|the kitchen".split("|")
)
TEMPLATES: dict[str, tuple[int, str]] = {
    "contract": (6, "Deed of assignment|{company} (hereinafter \"Seller\") and {company} (hereinafter \"Purchaser\") have agreed as follows|§ 1 Subject matter|The Seller undertakes to hand over the {goods} in working order.|§ 2 Consideration: {money}, due upon signature|Should any provision be invalid, the remaining provisions stay in force.|Amendments require written form.|Exclusive place of jurisdiction is the seat of the Seller.|Either side may withdraw within fourteen days.|Done in two copies at {address} on {date}|{person}, duly authorised"),
    "delivery_note": (5, "Collection and handover slip {code}|Consignor {company}|Consignee {company}, {address}|{n} cartons {goods}|{n} crates {goods}, {k} kg|Left with {person} at {place}|Seal intact yes/no|Temperature on arrival {k} °C|Number of pallets exchanged {k}|Signature of the recipient ........|Order ref {code}, no charge shown"),
    "email": (5, "to: {person}; {person}|subject: {goods} for {place}|Hey {person},|quick one: are you around on {date}?|I forwarded your note to {person}, she'll get back to you.|Happy to jump on a call if that's easier.|No rush, whenever you have a minute.|Thx|Sent from my phone|On {date}, {person} wrote:|ps: the {goods} turned up after all|Best, {person}"),
    "guide": (6, "Getting the most out of your {goods}|What's in the box|1) Unpack the {goods} and keep the carton.|2) Press and hold the button for {k} seconds until it blinks.|Do not immerse in water.|To change the language, go to Menu > Preferences > Language.|Q: It makes no sound. A: Turn up the volume.|You can undo this at any time.|See page {n} for spare parts.|Note: keep out of reach of children.|Cleaning and care"),
    "incident_report": (5, "Occurrence form {code}|When: {date} Where: {place}|Reported to {person}|A visitor tripped over a {goods} and sprained an ankle.|Water came through the ceiling and reached the sockets.|At 02:14 the database stopped accepting writes; alerts fired four minutes later.|Immediate action: area cordoned off, ambulance called.|Contributing factors: poor lighting, no handover.|To prevent it from happening again: {person} installs a handrail.|Severity: {k}. Downtime: {n} minutes.|Witness statement of {person} attached"),
    "invoice": (6, "{company}|Statement of charges {code}|For the attention of {person}, {address}|{n} x {goods} @ {money}|Callout and labour {money}|Goods value {money}|plus 21% tax {money}|Please remit {money} no later than {date}|Sort code 20-{n}-{k} account {n}{n}{n}|Late payments attract a fee.|Tax point {date}|Customer account {code}"),
    "job_description": (6, "Join us as a gardener|{company} seeks a part-time night porter for {place}|What you will do: look after the {goods}s, keep records, greet guests|You bring: patience, a driving licence, {k} years in a similar job|We give: {money} gross, meals, {n} days off|Reports to {person}|Contract: permanent, 38 hours|Closing date {date}|Equal opportunity employer|Send your application and certificates to {person}|Start: as soon as possible"),
    "minutes": (6, "Record of discussion held at {place} on {date}|Took part: {person}, {person}, {person}; excused: {person}|1. {person} welcomed everyone.|2. {goods}s: three quotations compared, the cheapest chosen.|3. It was noted that {money} is left in the fund.|4. Volunteers wanted for {date}.|Votes: {k} for, 1 against.|{person} to chase the supplier.|Items carried over: {goods}.|Session closed 21.05.|Recorded by {person}"),
    "other": (4, "{goods};{n};{k}|{goods};{k};{n}|name;count;place|{person};{n};{place}|Packing list for the holidays: {goods}, {goods}, {goods}|The swallows came back to {place} this week.|Boil the potatoes, add the cream, stir.|Quiz night: bring your own {goods}.|[ ] {goods}  [ ] {goods}|Agenda slide: why, what, when|Word of the week: {goods}|Birthday list: {person}, {person}, {person}|Floor plan of {place}"),
    "policy": (6, "House rules on {goods}s|1. Who this concerns: every member of staff at {place}.|2. Nobody may take a {goods} home without leave of {person}.|3. Records are destroyed after {k} years.|4. Managers see to it that these rules are known.|5. Harassment is not tolerated.|6. We collect only the data that we need and never sell it.|7. Violations are dealt with under the disciplinary procedure.|Adopted on {date}, in force until revoked|Principles|Roles: the officer in charge is {person}."),
    "purchase_order": (6, "We hereby order from you|Order {code} dated {date}|To {company}, {address}|{n} {goods}, blue, at {money} each|{k} {goods} as per your quote {code}|Delivery to {place} not later than {date}|Invoices in duplicate to accounts|Cost centre {n}|Requisitioned by {person}, released by {person}|Acknowledge receipt of this order by return|Penalty for late delivery 1% a week"),
    "receipt": (6, "{company}|{address}|{goods} {k}.99|{goods} {n}.50|2 {goods} {k}.20|SUM {n}.49|paid card ****{n}|change 0.00|you were served by {person}|come again!|{date} 14:{n}|bon no {code}|tax A 7% 0.{n}"),
    "report": (6, "Survey of the {goods}s at {place}|Commissioned by {company}, carried out {date}|Method: {n} people were asked, {k} answered.|Result: satisfaction went from {k} to {n} points.|Income {money}, expenditure {money}, surplus {money}|Compared with the previous period visits fell by {k}%.|The roof needs attention within {k} years.|We suggest to replace the {goods}s first.|Limitations: small sample.|Appendix: list of {goods}s|Compiled by {person}"),
    "resume": (6, "{person}|{address}|Objective: a post as a gardener where I can grow|since {date}: head of {place}, {company}|before that {k} years at {company}, in charge of {goods}s|School-leaving certificate with distinction|Licences: forklift, category C|Speaks Polish and English fluently|Voluntary work: lifeboat crew|Awards: apprentice of the year|Own car; free from {date}|Strengths: calm, exact"),
    "spam": (5, "Dear beneficiary,|You have been selected to receive {money}!!!|Claim your free {goods} NOW|Click here before {date}|I am the widow of the late Mr {person} and wish to transfer {money} to you.|Act fast, limited stock, 80% OFF|Your mailbox will be closed unless you verify your password|100% guaranteed, no risk|Reply with your bank details and phone number|Lose weight without effort|Unsubscribe"),
    "specification": (6, "Requirements for the supply of {goods}s|Length {n} mm ± 0.{k}; weight max. {k} kg|Colour RAL 70{n}|The {goods} must carry {n} kg without lasting deformation.|Tested according to EN {n}{k}, class {k}|Rated current {k} A, frequency 50 Hz|API: GET /{goods} returns 200 and a list; 404 if unknown|Backwards compatibility: none required|Packaging: {n} pieces a box|Document {code}, issue {k}|Storage between 5 and {n} °C"),
    "support_ticket": (5, "#{n}{k} [closed] {goods} broken|user {person} called at 9:{n}|cannot open the {goods} app, blank page|tried another cable, same thing|assigned -> {person}|sla {k} h, breached: no|> reply from agent: please clear the cache and tell us|workaround: use the web version|{date} customer confirmed fixed|category software/other|room {place}, inventory {code}|please help asap"),
}  # fmt: skip


def unseen(each: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """``each`` documents of every class that has a template, as (label, text)."""
    for label, (least, template) in TEMPLATES.items():
        for _ in range(each):
            lines = some(rng, template.split("|"), least, least + 5, rng.random() < 0.8)
            glue = rng.choice(("\n", "\n\n", "\n\n"))
            yield label, roughened(glue.join(_written(line, rng) for line in lines), rng)


def _written(line: str, r: random.Random) -> str:
    makers: dict[str, Callable[[], object]] = {
        "company": lambda: company(r),
        "address": lambda: address(r),
        "person": lambda: person(r),
        "date": lambda: date(r),
        "money": lambda: money(r),
        "code": lambda: code(r, "X", "B", "2026"),
        "goods": lambda: r.choice(GOODS),
        "place": lambda: r.choice(PLACES),
        "n": lambda: r.randint(10, 99),
        "k": lambda: r.randint(2, 9),
    }
    for name, make in makers.items():
        while "{" + name + "}" in line:
            line = line.replace("{" + name + "}", str(make()), 1)
    return line
