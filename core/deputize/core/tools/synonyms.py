"""Synonyms for everyday names of things and actions, for `deputize.core.tools.search`.

They are in English and German and belong to no product. Product-specific ones are in a `Toolkit` (``words``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STOP: Final = frozenset(
    "a about all am an and any are as at be been but by called can could d did do does for from get give had has have "
    "how i if in into is it its just let lets ll m may me mine my named need needs of on or our out please re s she "
    "should so some still t than that the their them then there these they this those to u us ve want wants was we "
    "were what when where will with would yes you your "
    "above again also around because before begin begins both day days down each else every everything ever first go "
    "going hour last later month months never next night nothing now off once one only other over quarter really same "
    "second since something soon thing things too two until while whole year years yet "
    "auf aus bei bitte das dass dem den der des die ein eine einem einen einer es fur hab habe hast hat ich ihm ihr im "
    "ist kann mein meine meinem meinen meiner mich mir mit nach oder sich sind uber um und uns von vom wann war wie "
    "wir wird wo zu zum zur".split()
)
"""Words that do not describe a tool."""

SIGNS: Final[Mapping[str, str]] = {
    r"(?<!\S)#[^\W\d]": "channel conversation message",
    r"(?<!\S)[\w.-]+/[\w.-]+": "repository branch",
    r"\b[A-Z]{2,}-\d+\b": "issue",
    r"(?i)\b(?:call(?:ing|ed)?|put(?:ting)?) [\w ]{0,20}off\b": "cancel delete event",
    r"(?i)\bturn(?:ing|ed)? (?:\w+ )?down\b": "decline respond event invitation",
    r"(?i)\b(?:get|getting) rid of\b|\bthrow\w* (?:\w+ )?away\b": "delete remove trash",
    r"(?i)\b(?:look|go|check)(?:ing)? (?:\w+ )?over\b": "review",
    r"(?i)\bcatch(?:ing)? up\b|\bmiss(?:ed)?\b": "unread messages",
    r"(?i)\bhow many\b|\bnumber of\b": "list",
    r"(?i)\b(?:next|this|current) (?:sprint|iteration)\b": "cycle issue update",
    r"(?i)\b[\w-]+\.(?:json|py|js|ts|ya?ml|toml|md|txt)\b|\breadme\b": "file path",
}
"""Patterns that imply a word: a channel, a repository, an issue, a file name."""

MEANT: Final[Mapping[str, str]] = {
    # mail
    "mail mails e-mail emails mailbox inbox posteingang postfach": "email",
    "spam junk newsletter newsletters abbestellen": "spam unsubscribe list",
    "trash bin papierkorb": "trash delete",
    "ooo away holiday holidays abwesend abwesenheit abwesenheitsnotiz urlaub office": "vacation office status",
    "antworten antworte beantworte respond answer": "reply respond comment",
    "weiterleiten weiterleite leite": "forward",
    "entwurf entwurfe": "draft",
    "anhang anhange enclosed": "attachment file",
    "rule rules regel regeln": "filter",
    "unread ungelesen ungelesene": "unread notification",
    "signatur footer": "signature",
    "letter letters correspondence": "email",
    "folder folders": "label folder directory",
    "sort file tidy clean": "label update archive filter",
    # calendar
    "meeting meetings appointment appointments termin termine besprechung call lunch standup sync planning": "event",
    "invite invites invitation einladen lade einladung guest guests gaste": "invite attendees event members",
    "schedule book plan vereinbare trage": "create event times",
    "reschedule postpone move verschiebe verschieben": "update event move",
    "cancel absagen sage stornieren": "cancel delete event",
    "workshop session appointment training": "event",
    "refuse reject": "decline respond",
    "beamer projector equipment resource resources": "room equipment",
    "rsvp accept decline zusagen attend": "respond answer event invitation",
    "free available availability slot slots busy frei verfugbar": "free busy times",
    "agenda today tomorrow week heute morgen woche": "events",
    "kalender": "calendar",
    "zoom meet videocall conference": "meet event",
    # chat
    "dm dms pm chat ping write nachricht schreibe": "message send conversation",
    "post announce": "post send message",
    "said mentioned": "messages search",
    "channel channels kanal kanale room": "channel conversation",
    "emoji thumbs thumbsup react reaction heart": "react reaction",
    "dnd snooze quiet mute": "snooze presence status notifications mute",
    "later scheduled spater": "later scheduled",
    "tell ask inform notify notice": "send message",
    "seen": "read mark",
    # code
    "pr prs mr": "pull request",
    "repo repos repository repositories": "repo repository",
    "build builds pipeline pipelines ci workflow tests failing failed": "run workflow checks ci",
    "red green broke broken crash crashed": "run failed checks logs",
    "nightly overnight": "run workflow",
    "rerun retry restart": "run again control",
    "bug bugs ticket tickets defect problem issue fehler": "issue",
    "sha diff changes changed": "commit compare diff",
    "approve lgtm review": "approve review reviewers",
    "folder directory ordner": "directory file",
    "vulnerability vulnerabilities cve cves secret": "security alerts",
    "snippet": "gist",
    "fork": "fork create repository",
    "version": "release tag",
    "source code": "code file",
    "inspect examine check": "review read",
    # planning
    "task tasks todo todos aufgabe aufgaben": "issue task",
    "sprint sprints iteration": "cycle",
    "epic goal okr roadmap": "initiative project milestone",
    "backlog board kanban": "issues project",
    "progress status": "state status update",
    "assign reassign zuweisen weise assignee owner": "assignee update owner",
    "push shift carry": "update move",
    "overdue late deadline": "due",
    "far along": "progress status",
    "priority urgent dringend": "priority update",
    "blocks blocked depends duplicate": "relate blocks duplicate",
    "wiki spec doc docs notes dokument": "document",
    "health": "update health",
    # sales
    "deal deals pipeline chance": "opportunity records",
    "customer customers client clients kunde kunden company firma": "customer account",
    "lead leads prospect": "lead record",
    "crm": "record",
    "case cases support": "case record",
    "phone phoned telefonat": "call phone log",
    "dashboard report reports bericht": "report",
    "buyer purchaser seller partner vendor supplier": "contact account record",
    "reach": "contact phone email",
    "spoke speak spoken talked talk": "activity call record",
    "close closing": "close opportunity",
    "manager boss reports hierarchy": "contact org",
    # people
    "who wer person people colleague colleagues kollege kollegin teammate address telephone": "people contact users",
    "birthday geburtstag": "birthday contact",
    "handle login username": "people users",
    "asked request": "request need reviewers",
    "team teams members": "team members people",
    "myself whoami": "whoami",
    # files
    "pdf word excel spreadsheet powerpoint slides presentation datei tabelle picture": "xlsx docx pptx pdf file",
    "attach share": "attach upload file share",
    "download fetch herunterladen": "fetch file attachment",
    # verbs
    "find look search suche suchen finde": "find search list",
    "which show list zeige zeig liste see welche": "list get find",
    "read open lies lese lesen": "read get open",
    "create new make open start set up erstelle erstellen anlegen lege neue neuen neues": "create",
    "add": "create add",
    "write": "write create send save",
    "edit modify rename set fix correct change andere andern bearbeite umbenennen": "update change edit set",
    "delete remove discard drop losche loschen entferne": "delete remove archive",
    "send sende schick schicke senden": "send",
    "close reopen finish done complete resolve schliesse": "state update close resolve",
    "comment kommentar kommentiere": "comment write",
    "subscribe watch follow": "subscribe subscription",
    "pin bookmark": "pin",
    "summary summarize summarise zusammenfassen": "read list",
    "happened happening history activity recent neues": "activity changes commits list",
}
"""Words of users, and the words that tools may use for them."""
