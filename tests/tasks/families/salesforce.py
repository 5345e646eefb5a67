"""Salesforce: what a day of selling leaves behind."""

from __future__ import annotations

from deputize.sandbox.salesforce.seed import checksum
from tests.tasks.end import End
from tests.tasks.reading import pages
from tests.tasks.task import Refused, Script, task, use
from tests.tasks.texts import LONG
from tests.tasks.world import World

NORTHWIND, RENEWAL, CAROL = "001000000000001AAA", "006000000000001AAA", "003000000000001AAA"
ERIN, OFFER = "00Q000000000001EAA", "00T000000000002EAA"


@task("Log my call with Carol Clark of Northwind: 'She signs on Friday.', 20 minutes.", "salesforce")
def log_a_call() -> Script:
    contact = yield use("salesforce_get_record", object="Contact", record="Carol Clark")
    yield use(
        "salesforce_log_activity", kind="call", subject="Call", description="She signs on Friday.",
        contact_or_lead=contact["id"], duration_minutes=20,
    )  # fmt: skip


@log_a_call.ends
def _(end: End) -> None:
    [call] = end.changed("salesforce records Task *")
    assert call["WhoId"] == CAROL and "Friday" in call["Description"] and call["CallDurationInSeconds"] == 1200


@task("Northwind renewal is won, over 15000 in the end.", "salesforce")
def won() -> Script:
    found = yield use("salesforce_list_records", object="Opportunity", query="Northwind renewal")
    fields = {"StageName": "Closed Won", "Amount": 15000}
    yield use("salesforce_update_record", object="Opportunity", id=found["items"][0]["id"], fields=fields)


@won.ends
def _(end: End) -> None:
    assert end.now(f"salesforce records Opportunity {RENEWAL} StageName") == "Closed Won"
    assert end.now(f"salesforce records Opportunity {RENEWAL} Amount") == 15000


@task("Make a lead of Frank Fisher at Umbrella, frank@umbrella.example.test.", "salesforce")
def new_lead() -> Script:
    fields = {"FirstName": "Frank", "LastName": "Fisher", "Company": "Umbrella", "Email": "frank@umbrella.example.test"}
    yield use("salesforce_create_record", object="Lead", fields=fields)


@new_lead.ends
def _(end: End) -> None:
    [lead] = end.changed("salesforce records Lead *")
    assert (lead["LastName"], lead["Company"], lead["Email"]) == ("Fisher", "Umbrella", "frank@umbrella.example.test")


@task("I have sent the offer that was overdue. Set that task to completed.", "salesforce")
def complete_a_task() -> Script:
    found = yield use("salesforce_list_records", object="Task", overdue_only=True)
    one = next(row for row in found["items"] if "offer" in row["name"])
    yield use("salesforce_update_record", object="Task", id=one["id"], fields={"Status": "Completed"})


@complete_a_task.ends
def _(end: End) -> None:
    assert end.now(f"salesforce records Task {OFFER} Status") == "Completed"
    end.changed(f"salesforce records Task {OFFER} IsClosed")


def _described(world: World) -> None:
    world["salesforce"]["records"]["Account"][0]["Description"] = LONG


@task("Add to the description of the account Northwind: 'Met in Vienna.'", "salesforce")
def add_to_a_description() -> Script:
    account = yield use("salesforce_get_record", object="Account", record="Northwind")
    yield use(
        "salesforce_update_record", object="Account", id=account["id"], fields={"Description": "Met in Vienna."},
        append=["Description"],
    )  # fmt: skip


add_to_a_description.starts(_described)


@add_to_a_description.ends
def _(end: End) -> None:
    text = end.now(f"salesforce records Account {NORTHWIND} Description")
    assert text.startswith(LONG.rstrip()) and text.rstrip().endswith("Met in Vienna.")


@task(
    "In the description of the account Northwind, 'The last row is kept.' should be 'Every row is kept.'", "salesforce"
)
def change_a_description() -> Script:
    account = yield use("salesforce_get_record", object="Account", record="Northwind")
    fields = {"Description": "Every row is kept."}
    replaces = {"Description": "The last row is kept."}
    yield use("salesforce_update_record", object="Account", id=account["id"], fields=fields, replaces=replaces)


change_a_description.starts(_described)


@change_a_description.ends
def _(end: End) -> None:
    text = end.now(f"salesforce records Account {NORTHWIND} Description")
    assert text == LONG.replace("The last row is", "Every row is")


@task("What does the description of the account Northwind say under 'Expected'?", "salesforce")
def read_a_description() -> Script:
    arguments = {"object": "Account", "record": "Northwind", "fields": ["Description"]}
    found = yield use("salesforce_get_record", **arguments)
    text, part = str(found["fields"]["Description"]), found
    while part.get("next_offset"):
        part = yield use("salesforce_get_record", **arguments, offset=part["next_offset"])
        text += part["fields"]["Description"]
    return text.rpartition("Expected")[2]


read_a_description.starts(_described)


@read_a_description.ends
def _(end: End) -> None:
    assert "The last row is kept" in end.said


@task("Who is our contact at Northwind, and what is her address?", "salesforce")
def who_is_the_contact() -> Script:
    account = yield use("salesforce_get_record", object="Account", record="Northwind", related=True)
    person = account["related"]["contacts"][0]
    return f"{person['name']}, {person['Email']}"


@who_is_the_contact.ends
def _(end: End) -> None:
    assert "Carol" in end.said and "carol@example.test" in end.said


@task("Which of my deals close in January 2027, and what are they worth together?", "salesforce")
def forecast() -> Script:
    rows = yield from pages("salesforce_list_records", object="Opportunity", owner="me")
    due = [row for row in rows if row["CloseDate"].startswith("2027-01")]
    return f"{', '.join(row['name'] for row in due)}: {sum(row['Amount'] for row in due)}"


@forecast.ends
def _(end: End) -> None:
    assert "Northwind renewal" in end.said and "12" in end.said


@task("Add Gina Grant, gina@example.test, as a contact of Northwind.", "salesforce")
def new_contact() -> Script:
    account = yield use("salesforce_get_record", object="Account", record="Northwind")
    fields = {"FirstName": "Gina", "LastName": "Grant", "Email": "gina@example.test", "AccountId": account["id"]}
    yield use("salesforce_create_record", object="Contact", fields=fields)


@new_contact.ends
def _(end: End) -> None:
    [contact] = end.changed("salesforce records Contact *")
    assert (contact["LastName"], contact["AccountId"]) == ("Grant", NORTHWIND)


@task("Remind me on 1 December 2026 to call Northwind about the renewal: a task on that deal.", "salesforce")
def new_task() -> Script:
    found = yield use("salesforce_list_records", object="Opportunity", query="Northwind renewal")
    yield use(
        "salesforce_log_activity", kind="task", subject="Call Northwind", due_date="2026-12-01",
        account_or_opportunity=found["items"][0]["id"],
    )  # fmt: skip


@new_task.ends
def _(end: End) -> None:
    [one] = end.changed("salesforce records Task *")
    assert (one["WhatId"], one["ActivityDate"]) == (RENEWAL, "2026-12-01") and "Call" in one["Subject"]


@task("Throw away the lead Erin Evans, she has left Initech.", "salesforce")
def delete_a_lead() -> Script:
    lead = yield use("salesforce_get_record", object="Lead", record="Erin Evans")
    yield use("salesforce_delete_record", object="Lead", id=lead["id"])


@delete_a_lead.ends
def _(end: End) -> None:
    assert end.changed("salesforce records Lead *") == [None]
    assert list(end.now("salesforce deleted").values()) == [ERIN]


def _two_carols(world: World) -> None:
    records = world["salesforce"]["records"]
    account, contact = dict(records["Account"][0]), dict(records["Contact"][0])
    initech = "001000000000003" + checksum("001000000000003")
    records["Account"].append(account | {"Id": initech, "Name": "Initech"})
    other = "003000000000003" + checksum("003000000000003")
    records["Contact"].append(contact | {"Id": other, "AccountId": initech, "Email": "carol.clark@initech.test"})


@task("Log that I met Carol Clark of Northwind yesterday at three for an hour: she wants 40 seats.", "salesforce")
def log_by_name() -> Script:
    met = {"kind": "event", "subject": "Met Carol Clark", "description": "She wants 40 seats.", "end": "1h"}
    met |= {"contact_or_lead": "Carol Clark", "start": "yesterday 15:00"}
    try:
        yield use("salesforce_log_activity", **met)
    except Refused as several:
        assert "Northwind" in str(several) and "Initech" in str(several)
        yield use("salesforce_log_activity", **met, account_or_opportunity="Northwind")


log_by_name.starts(_two_carols)


@log_by_name.ends
def _(end: End) -> None:
    [event] = end.changed("salesforce records Event *")
    assert event["WhoId"] == CAROL and "40 seats" in event["Description"]
    assert event["StartDateTime"].startswith("2026-11-23T14:00") and event["EndDateTime"].startswith("2026-11-23T15:00")


CALL_BY_BOB, MAIL_BY_ALICE = "Call about prices", "Email: the offer"


@task("When did anybody of us last speak with Carol Clark, and about what?", "salesforce")
def last_activity_by_name() -> Script:
    carol = yield use("salesforce_get_record", object="Contact", record="Carol Clark")
    rows = yield from pages("salesforce_list_records", object="Task", related_to=carol["id"], fields=FIELDS)
    done = [row for row in rows if row["Status"] == "Completed"]
    last = max(done, key=lambda row: str(row["ActivityDate"]))
    return f"{last['ActivityDate']}: {last['name']}"


FIELDS = ["Status", "ActivityDate"]


@last_activity_by_name.starts
def _(world: World) -> None:
    tasks = world["salesforce"]["records"]["Task"]
    made = [(CALL_BY_BOB, "2026-11-12", "Completed"), (MAIL_BY_ALICE, "2026-11-18", "Completed")]
    for n, (subject, day, status) in enumerate([*made, ("Ask again", "2026-12-01", "Not Started")], 10):
        key = f"00T0000000000{n}"
        row = dict(tasks[1]) | {"Id": key + checksum(key), "Subject": subject, "ActivityDate": day, "Status": status}
        tasks.append({name: value for name, value in row.items() if name != "AccountId"} | {"WhoId": CAROL})


@last_activity_by_name.ends
def _(end: End) -> None:
    assert end.said == f"2026-11-18: {MAIL_BY_ALICE}"
