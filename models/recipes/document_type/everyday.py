"""More of what lies on a company's shelves: tables, forms, slides and newsletters, which are none of the built-in types, and the
types that public sets hold in one style only: tickets, notes of meetings, how-tos, handbooks, inspections.

Same rules as in `synthetic`: nothing is taken from a real document; `roughened` is applied by the caller.
"""

from __future__ import annotations

import random

from models.recipes.document_type.synthetic import (
    ITEM,
    ROLE,
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
    some,
)

PARTS = (
    "gearbox|impeller|drive belt|mechanical seal|flow meter|heat exchanger|boiler|compressor|extraction fan|conveyor|forklift|"
    "label printer|cold store door|generator|fire panel|lift|pressure gauge|stirrer|packing line|weighing cell"
).split("|")
TROUBLES = (
    "leaks at the flange|makes a grinding noise|stops after a few minutes|shows error {code}|does not reach its temperature|trips the "
    "breaker|vibrates more than usual|will not start|loses pressure overnight|smells of burning|drips on the floor|reads too low"
).split("|")
DONE = (
    "technician on site, {part} checked, spare ordered|customer called back, agreed on {date}|replaced the {part}, test run of two hours "
    "without findings|waiting for the supplier|sensor cleaned and calibrated|remote session, setting corrected|requester confirms that it "
    "works|escalated to second level|photographs received|visit planned for {date}"
).split("|")
SUBJECTS = (
    "summer party|new colleagues|canteen|bicycle leasing|blood donation|apprentices|anniversaries|football tournament|open day|"
    "charity run|book corner|quiz of the month|crossword|puzzle|photo competition|choir|garden group|carpool"
).split("|")
STEPS = (
    "Switch off the {part} and lock the main switch.|Let it cool down for {n} minutes.|Remove the {k} screws of the cover.|Pull the {part} "
    "out towards you.|Clean the contact faces with a lint-free cloth.|Put the new {part} in place; mind the arrow.|Tighten the screws "
    "crosswise to {n} Nm.|Open Settings and choose {system}.|Click Save and sign in again.|Check that the lamp is green.|Turn the shaft by "
    "hand; it must move freely.|Write the date on the maintenance label.|Refill with oil up to the upper mark.|If it still {trouble}, call the service."
).split("|")
CHAPTERS = (
    "Welcome|Your first day|Working hours|Breaks|Pay and payslips|Holidays|Sickness|Dress and tools|Health and safety|Using the intranet|"
    "Travel and expenses|Learning|Feedback talks|Confidentiality|Parking|Canteen|Leaving the company|Who to ask"
).split("|")
ADVICE = (
    "You will find the form on the intranet.|Please talk to your team leader first.|We like to keep this simple.|Everyone is entitled to {n} "
    "days.|Your payslip arrives by the {k}th of the month.|If you are ill, call before {n} o'clock.|Ask {person} if anything is unclear.|We "
    "work from Monday to Friday.|Lockers are on the ground floor.|New colleagues get a buddy for the first {k} weeks."
).split("|")


def filled(r: random.Random, text: str) -> str:
    """A sentence with its slots filled."""
    return text.format(
        code=code(r, "E", "F", "0x"),
        part=r.choice(PARTS),
        date=date(r),
        n=r.randint(5, 90),
        k=r.randint(2, 12),
        system=r.choice(SYSTEM),
        person=person(r),
        trouble=r.choice(TROUBLES).split("{")[0].strip(),
    )


def several(r: random.Random, pool: list[str], least: int, most: int) -> list[str]:
    return [filled(r, text) for text in some(r, pool, least, most)]


TABLES = {
    "stock": (("item", "description", "bin", "on_hand", "minimum", "unit_cost"), lambda r: (code(r, "P", "SP"), r.choice(PARTS), f"{r.choice('ABCDEF')}{r.randint(1, 60)}", r.randint(0, 90), r.randint(1, 20), f"{r.uniform(1, 900):.2f}")),
    "claims": (("date", "employee", "purpose", "category", "amount", "currency", "status"), lambda r: (date(r), person(r), f"visit to {r.choice(TOWN)}", r.choice(("train", "hotel", "meal", "taxi", "parking")), f"{r.uniform(4, 600):.2f}", r.choice(("EUR", "GBP", "USD")), r.choice(("approved", "paid", "open")))),
    "staff": (("number", "name", "department", "hours", "overtime", "leave_days"), lambda r: (r.randint(100, 9999), person(r), r.choice(ROLE), r.randint(20, 45), r.randint(0, 20), r.randint(0, 30))),
    "readings": (("timestamp", "sensor", "temperature", "pressure", "state"), lambda r: (f"{date(r)} {r.randint(0, 23):02}:{r.randint(0, 59):02}", code(r, "T", "S"), f"{r.uniform(10, 95):.1f}", f"{r.uniform(0.5, 12):.2f}", r.choice(("ok", "high", "low")))),
    "prices": (("article", "name", "pack", "list_price", "discount_group"), lambda r: (code(r, "A", "ART"), r.choice(ITEM), r.randint(1, 50), f"{r.uniform(1, 2000):.2f}", r.choice("ABCD"))),
    "contacts": (("company", "contact", "town", "phone", "last_order"), lambda r: (company(r), person(r), r.choice(TOWN), f"+{r.randint(20, 99)} {r.randint(10**6, 10**8)}", date(r))),
    "rota": (("week", "monday", "tuesday", "wednesday", "thursday", "friday"), lambda r: (r.randint(1, 52), *(person(r).split()[0] for _ in range(5)))),
}  # fmt: skip


@maker("other")
def table(r: random.Random) -> str:
    """A list as a spreadsheet or a CSV export: no letterhead, no buyer, no total due."""
    columns, row = TABLES[r.choice(list(TABLES))]
    bar = r.choice((",", ";", "\t", " | ", "\n"))
    head = [name.replace("_", " ").title() for name in columns] if r.random() < 0.5 else list(columns)
    lines = [bar.join(head), *(bar.join(map(str, row(r))) for _ in range(r.randint(4, 30)))]
    title = [r.choice(("", "", f"Sheet {r.randint(1, 4)}", f"As of {date(r)}"))]
    return joined(title, r.choice(("\n", "\n\n")).join(lines))


@maker("other")
def newsletter(r: random.Random) -> str:
    name = f"The {r.choice(PARTS).title()} {r.choice(('Post', 'Gazette', 'News', 'Courier', 'Voice'))}"
    stories = [f"{subject.capitalize()}\n\n{' '.join(several(r, NEWS, 2, 5))}" for subject in some(r, SUBJECTS, 3, 7)]
    head = r.choice((f"{name}, issue {r.randint(1, 90)}", f"{name}\n\nStaff newsletter of {company(r)}, {date(r)}"))
    return joined(head, stories, r.choice(("", f"Next issue: {date(r)}. Send your stories to {person(r)}.")))


NEWS = (
    "A warm welcome to {person}, who joins us this month.|More than {n} colleagues came.|The winner is {person}; congratulations!|Save the date: "
    "{date}.|Thank you to everyone who helped.|The weather was kind to us.|Sign up on the notice board.|{person} retires after {n} years.|Cakes "
    "were sold for a good cause.|Pictures hang in the corridor.|This year we planted {n} trees.|The new {part} is running at last."
).split("|")


@maker("other")
def slides(r: random.Random) -> str:
    """The text of a presentation: titles and short points."""
    topic = r.choice(TOPIC)
    points = (
        f"Who we are|Where we stand|Goals|Timeline: {date(r)} to {date(r)}|Risks|Team: {person(r)}, {person(r)}|Next steps|Budget {money(r)}|Questions?|"
        f"Scope|Milestones|Open points|Phase {r.randint(1, 4)}|{r.randint(2, 40)} sites|Lessons learned|Why now?|What we need from you|Contacts"
    ).split("|")
    return joined(
        [r.choice((f"{topic.capitalize()}: kick-off", f"{topic.capitalize()}\n\n{company(r)}", f"Project {topic}"))],
        some(r, points, 5, 14),
        r.choice(("Thank you", "", f"{person(r)}, {date(r)}")),
    )


@maker("other")
def form(r: random.Random) -> str:
    """A filled-in form: labels, values, signatures."""
    kind = r.choice(
        "Leave request|Visitor registration|Room booking|Change of address|Travel request|Equipment loan|Overtime request|Key receipt|"
        "Course registration|Parking permit|Holiday application|Consent to photographs|Self-certificate of sickness|Questionnaire".split(
            "|"
        )
    )
    fields = [
        f"Name: {person(r)}",
        f"Personnel number: {r.randint(100, 99999)}",
        f"Department: {r.choice(ROLE)}",
        f"From: {date(r)}  To: {date(r)}",
        f"Number of days: {r.randint(1, 25)}",
        f"Reason: {r.choice(('family', 'private', 'training', 'visit to ' + r.choice(TOWN)))}",
        f"Substitute: {person(r)}",
        "[x] yes  [ ] no",
        f"Item: {r.choice(ITEM)}",
        f"Address: {address(r)}",
        f"Approved by: {person(r)}",
        f"Date, signature: {date(r)} ....................",
        "To be completed by the office: received / checked / filed",
    ]
    return joined(r.choice((kind, kind.upper(), f"{company(r)}\n\n{kind}")), some(r, fields, 5, 11, True))


@maker("support_ticket")
def service_case(r: random.Random) -> str:
    """A case as a service desk or a maintenance system prints it."""
    part, number = r.choice(PARTS), code(r, "TKT", "IM", "ENG", "CASE", "WO", "HD")
    trouble = f"{part} {filled(r, r.choice(TROUBLES))}"
    fields = [
        f"{r.choice(('Ticket', 'Case', 'Request', 'Number', 'ID'))}: {number}",
        f"{r.choice(('Requester', 'Customer', 'Reported by', 'From'))}: {person(r)}, {r.choice((company(r), r.choice(TOWN), r.choice(ROLE)))}",
        f"Opened: {date(r)}",
        f"{r.choice(('Priority', 'Urgency', 'Severity'))}: {r.choice(('1', '2', '3', 'low', 'normal', 'high', 'critical'))}",
        f"Status: {r.choice(('new', 'open', 'pending', 'solved', 'closed', 'on hold', 'in progress'))}",
        f"{r.choice(('Assignee', 'Owner', 'Queue', 'Team'))}: {r.choice((person(r), 'service desk', 'facilities', 'field service'))}",
        f"{r.choice(('Asset', 'Location', 'Serial number', 'Site'))}: {code(r, 'SN', 'A', 'B')}",
    ]
    mark = r.choice(("", "# ", "## ", "**"))
    log = [
        f"{r.choice(('- ', '', '* ', '> '))}{date(r)} {r.randint(7, 18):02}:{r.randint(0, 59):02} {person(r)}: {filled(r, text)}"
        for text in some(r, DONE, 2, 6)
    ]
    story = several(r, CASE, 1, 4)
    return joined(
        f"{mark}{number}: {trouble}" if r.random() < 0.7 else f"{mark}{trouble}",
        r.choice(("\n", "\n\n", " | ")).join(some(r, fields, 4, 7, True)),
        f"{mark}{r.choice(('Description', 'Problem', 'What happened', 'Details'))}",
        " ".join(story),
        f"{mark}{r.choice(('Activity', 'Log', 'Comments', 'History', 'Work notes', 'Updates'))}",
        r.choice(("\n", "\n\n")).join(log),
        r.choice(("", f"Resolution: {filled(r, r.choice(DONE))}", "Please rate our service.")),
    )


CASE = (
    "Since this morning our {part} does not work.|The {system} says {code}.|It happened right after the update of {date}.|We have already tried to "
    "restart it.|Two of {n} colleagues are affected.|The door does not close by itself.|We cannot print labels and the lorry is waiting.|Can somebody come "
    "today?|The display shows {code} and then goes dark.|The second screen stays black.|The scale shows another weight each time.|It is under warranty."
).split("|")


@maker("minutes")
def notes(r: random.Random) -> str:
    """Short notes of a regular meeting, as somebody types them on the way."""
    people = [person(r).split()[0] for _ in range(r.randint(3, 7))]
    head = r.choice(
        (
            f"{r.choice(('Production', 'Weekly', 'Team', 'Shift', 'Sales', 'Safety', 'Project', 'Morning'))} meeting {date(r)}",
            f"Notes {r.choice(TOPIC)} {date(r)}",
            f"MEETING NOTES\n{date(r)}",
        )
    )
    there = f"{r.choice(('Present', 'There', 'Attendees', 'With'))}: {', '.join(people)}"
    points = [f"{r.choice(('- ', '* ', '', '1) '))}{text}" for text in several(r, SAID, 4, 11)]
    tasks = [
        f"{r.choice(people)}: {filled(r, r.choice(TODO))}{r.choice(('', f' (by {date(r)})'))}"
        for _ in range(r.randint(1, 5))
    ]
    return joined(
        head,
        r.choice((there, there.upper(), f"{there}\nAbsent: {person(r)}")),
        r.choice(("\n", "\n\n")).join(points),
        f"{r.choice(('Actions', 'To do', 'Tasks', 'Who does what'))}:",
        "\n".join(tasks),
        r.choice(("", f"Next time: {date(r)}", f"End {r.randint(9, 17)}.{r.randint(10, 59)}")),
    )


SAID = (
    "{part}: waiting for parts, should be back on {date}|Orders up by {n} %, two late|{person} asks for more people on the night shift, to be discussed|no "
    "accidents, {k} near misses|{part} was down for {n} minutes|agreed to try it for {k} weeks|discussed the delay, nobody happy|stock count went well|customer "
    "visit on {date}, tidy up before|decided: no overtime this week|old list gone through, {k} points closed|scrap rate {k} %, target {k} %|question about holidays, {person} checks"
).split("|")
TODO = "order the {part}|talk to purchasing|new plan for the {part}|call {person}|check the {system}|send the list round|book a room".split(
    "|"
)


@maker("guide")
def how_to(r: random.Random) -> str:
    """A how-to for a machine or a program."""
    part = r.choice(PARTS)
    title = r.choice(
        (
            f"How to replace the {part}",
            f"Replacing the {part}: step by step",
            f"{part.capitalize()} user guide",
            f"Setting up the {r.choice(SYSTEM)}",
            f"Quick start: {part}",
        )
    )
    mark = r.choice(("# ", "", "", "== "))
    steps = [
        f"{r.choice((f'{n}. ', f'Step {n}: ', '- ', '* '))}{text}" for n, text in enumerate(several(r, STEPS, 5, 12), 1)
    ]
    before = f"{r.choice(('Before you start', 'You need', 'Tools', 'Safety first'))}: {', '.join(some(r, ['gloves', 'a torque wrench', 'the new part', 'a clean cloth', 'your password', 'about an hour', 'a second person'], 2, 5))}."
    return joined(
        f"{mark}{title}",
        before,
        r.choice(("\n", "\n\n")).join(steps),
        r.choice(
            ("", f"Tip: {filled(r, r.choice(ADVICE))}", "## Troubleshooting\n\n" + "\n".join(several(r, STEPS, 1, 3)))
        ),
    )


@maker("guide")
def handbook(r: random.Random) -> str:
    """Chapters of a handbook for employees: friendly, no rules in numbered clauses."""
    chapters = [
        f"{r.choice(('', f'{n}. ', f'Chapter {n}: '))}{title}\n\n{' '.join(several(r, ADVICE, 2, 6))}"
        for n, title in enumerate(some(r, CHAPTERS, 4, 10, True), 1)
    ]
    return joined(
        r.choice(
            (
                f"Employee handbook\n\n{company(r)}",
                "Staff handbook",
                f"Welcome to {company(r)}: a handbook for new colleagues",
            )
        ),
        chapters,
    )


@maker("report")
def inspection(r: random.Random) -> str:
    """An inspection or a status report: findings, figures, recommendations."""
    head = r.choice(
        (
            f"Inspection report {code(r, 'IR', 'R')}",
            f"Quarterly report Q{r.randint(1, 4)}",
            f"Annual safety report {r.randint(2012, 2030)}",
            f"Audit report: {r.choice(TOPIC)}",
            f"Status report {r.choice(TOPIC)}",
        )
    )
    found = several(r, FINDINGS, 3, 8)
    return joined(
        f"{head}\n\n{company(r)}, {date(r)}",
        r.choice(("Summary", "Scope", "Overview")),
        " ".join(several(r, FINDINGS, 2, 4)),
        "Findings",
        [f"{n}. {text}" for n, text in enumerate(found, 1)],
        "Recommendations",
        [f"{r.choice(('-', 'R' + str(n)))} {filled(r, r.choice(ADVISED))}" for n in range(1, r.randint(2, 6))],
        f"Inspected by {person(r)}",
    )


FINDINGS = (
    "The {part} was in good order.|Of {n} fire extinguishers {k} were past their date.|Sales rose by {k} % on the quarter before.|Escape routes were clear.|The guard of the {part} "
    "was loose.|Costs came to {n} thousand, {k} % under plan.|{n} hours without an accident.|Housekeeping has improved since {date}.|Two of {k} measures of the last report are still open.|"
    "Margins were lower because of energy prices.|Training records of {k} people were missing."
).split("|")
ADVISED = "Replace the {part} by {date}.|Repeat the check in {k} months.|Train {n} people.|Put up a sign at the {part}.|Review the budget.|Keep the present course.".split(
    "|"
)
