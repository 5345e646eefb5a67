"""A person's account at a provider, as a deputy would have learned it from the provider."""

from __future__ import annotations

from deputize.core import Account
from deputize.sandbox.github.seed import login, number_id
from deputize.sandbox.linear.seed import ORGANIZATION_KEY, stable_id
from deputize.sandbox.linear.seed import user_id as linear_id
from deputize.sandbox.people import SEEDED
from deputize.sandbox.salesforce.seed import ORG
from deputize.sandbox.salesforce.seed import user_id as salesforce_id
from deputize.sandbox.slack.seed import TEAM
from deputize.sandbox.slack.seed import user_id as slack_id


def account_of(provider: str, email: str) -> Account:
    """Return the account of the person with this address. Raise LookupError if there is none."""
    person = next((person for person in SEEDED if person.email == email), None)
    if person is None:
        raise LookupError(f"nobody in the sandbox has the address {email}")
    name = login(email)
    known = {
        "google": Account(person.sub, email),
        "slack": Account(f"{TEAM['id']}:{slack_id(email)}", f"@{name} in {TEAM['name']}"),
        "github": Account(str(number_id(person.sub)), name),
        "github_app": Account(str(number_id(person.sub)), name),
        "linear": Account(f"{stable_id('organization')}:{linear_id(email)}", f"{person.name} in {ORGANIZATION_KEY}"),
        "salesforce": Account(f"{ORG}:{salesforce_id(person.sub)}", email),
    }
    return known[provider]
