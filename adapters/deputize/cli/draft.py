"""What is about to be done, as a person wants to see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deputize.core import DeputizeError, Deputy


async def draft_of(
    deputy: Deputy, user: str, tool: str, preview: Mapping[str, Any], account: str = ""
) -> dict[str, Any]:
    """An approval's preview with the mail it is about instead of that mail's id: for a reply, whom it goes to.

    The mail is read as the user, in the account that would act. Where that fails the preview is shown as it is.
    """
    draft = dict(preview)
    if "message_id" not in draft:
        return draft
    try:
        mail = await deputy.act(
            "gmail_get_email", {"message_id": draft["message_id"]}, user=user, account=account or None
        )
    except DeputizeError:
        return draft
    del draft["message_id"]
    subject, sender = str(mail["subject"]), mail.get("reply_to") or mail["from"]
    if tool != "gmail_reply_email":
        return {"email": f"“{subject}” from {mail['from']}", **draft}
    everybody = [*mail.get("to", []), *mail.get("cc", [])] if draft.get("all_") else []
    again = subject if subject.lower().startswith("re:") else f"Re: {subject}"
    return {"to": [sender, *everybody] if everybody else sender, "subject": again, **draft}
