"""Pages that are made from the code: python -m tests.docs.generated writes docs/{settings,errors,audit}.md.

Of docs/retention.md it makes the table. It also draws the picture of README.md.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from deputize.cli.retention import audit_life, retention_rows
from deputize.core import errors
from deputize.core.audit.common_fields import Facts
from deputize.core.audit.events import EVENTS, Event
from deputize.core.audit.export_settings import AuditExportSettings
from deputize.core.errors import DeputizeError
from deputize.core.mcp_client.mcp_settings import McpSettings
from deputize.core.providers.app_settings import (
    ExchangeSettings,
    IdentityAssertionSettings,
    ServiceAccountSettings,
)
from deputize.core.providers.from_settings import ApiSettings, OAuthSettings, ProviderSettings
from deputize.core.settings import AppSettings, IssuerSettings, ServeSettings, Settings, SignInSettings
from deputize.core.vault.kms.protocol import KmsSettings
from tests.docs.blocks import ROOT
from tests.docs.picture import picture

MADE: Final = "<!-- Made from the code by `python -m tests.docs.generated`. -->"


NESTED: Final = ("apps", "providers", "mcp", "kms", "serve", "signin", "audit_export")
"""Settings that are tables."""
SOURCES: Final[tuple[type[BaseModel], ...]] = (ExchangeSettings, IdentityAssertionSettings, ServiceAccountSettings)


def settings_page() -> str:
    """Return every setting: its variable, its line in the file, its default, and its purpose."""
    rows = [_setting(name, field) for name, field in Settings.model_fields.items() if name not in NESTED]
    apps = [_app(name, field) for name, field in AppSettings.model_fields.items()]
    return "\n".join(
        [
            "# Settings",
            "",
            MADE,
            "",
            "deputize reads environment variables first, then `deputize.toml`. Values that your code passes take",
            "precedence.",
            "`deputize doctor` lists which settings are set, which are missing, and how to fix them.",
            "",
            "The file is in `DEPUTIZE_HOME`, or in the platform's folder for settings. `DEPUTIZE_CONFIG` names another",
            "one. A file in the working directory is not read. The file must belong to your account or to root, and no",
            "other account may write it. `DEPUTIZE_USER` names the user for whom the command line acts.",
            "",
            "Relative paths in the file start at the folder of the file.",
            "",
            "A secret can be in a file with one line: `vault_file`, `key_file` and each `client_secret_file` name",
            "one, as in `DEPUTIZE_APPS__GOOGLE__CLIENT_SECRET_FILE=/run/secrets/google`. The file must belong to your",
            "account or to root. No other account may write it, and no other account may read a key file. A name",
            "without a folder is a credential of the systemd unit (`LoadCredential=`), except for `key_file`, which",
            "takes `%d/NAME`.",
            "",
            "| variable | line in `deputize.toml` | default | |",
            "|---|---|---|---|",
            *rows,
            "",
            "## OAuth apps",
            "",
            "One table for each OAuth client, called as you like; the name of a provider where there is one for it:",
            "`DEPUTIZE_APPS__GOOGLE__CLIENT_ID=...`, or",
            "",
            "```toml",
            "[apps.google]",
            'client_id = "..."',
            'client_secret = "..."',
            "```",
            "",
            "| field | default |",
            "|---|---|",
            *apps,
            "",
            *_paragraph(AppSettings),
            "",
            *chain.from_iterable(_source(kind) for kind in SOURCES),
            "## Providers",
            "",
            "A provider without code, called as its table is; an app of that name belongs to it:",
            "",
            "```toml",
            "[providers.acme]",
            'scope_descriptions = { "tasks:read" = "read your tasks" }',
            "",
            "[providers.acme.oauth]",
            'authorize_url = "https://acme.example/oauth/authorize"',
            'token_url = "https://acme.example/oauth/token"',
            "",
            "[providers.acme.apis]",
            'roots = { acme = "https://api.acme.example/v1" }',
            'identity = { url = "https://api.acme.example/v1/me", subject = "{id}", name = "{email}" }',
            "```",
            "",
            "| field | default | |",
            "|---|---|---|",
            *_provider_fields(),
            "",
            "Providers, servers of your own and several accounts: [providers.md](providers.md).",
            "",
            "## MCP servers",
            "",
            "A foreign server, called as its table is; see [any-mcp-server.md](any-mcp-server.md):",
            "",
            "```toml",
            "[mcp.tracker]",
            'url = "https://mcp.linear.app/mcp"',
            "```",
            "",
            "| field | default | |",
            "|---|---|---|",
            *(_described(name, field) for name, field in McpSettings.model_fields.items()),
            "",
            "## Keys from a KMS",
            "",
            "A service that wraps the root keys, called as its table is; see [backup-and-keys.md](backup-and-keys.md):",
            "`DEPUTIZE_KMS__MAIN__PROVIDER=aws-kms`, or",
            "",
            "```toml",
            "[kms.main]",
            'provider = "aws-kms"',
            'key = "arn:aws:kms:eu-central-1:111122223333:key/..."',
            "```",
            "",
            "| field | default | |",
            "|---|---|---|",
            *(_described(name, field) for name, field in KmsSettings.model_fields.items()),
            "",
            "## Serving tools",
            "",
            "What `deputize serve` serves over HTTP, and to whom, see [serve-mcp.md](serve-mcp.md):",
            "`DEPUTIZE_SERVE__ISSUER=...`, or",
            "",
            "```toml",
            "[serve]",
            'issuer = "https://login.example.com"',
            'client_id = "..."',
            "```",
            "",
            "| field | default | |",
            "|---|---|---|",
            *(_described(name, field) for name, field in ServeSettings.model_fields.items()),
            "",
            "## Several issuers",
            "",
            "One table for each tenant's issuer, in place of the issuer in `[serve]`; see [sign-in.md](sign-in.md):",
            "`DEPUTIZE_SIGNIN__ACME__ISSUER=...`, or",
            "",
            "```toml",
            "[signin.acme]",
            'issuer = "https://login.acme.example"',
            'client_id = "..."',
            'domains = ["acme.example"]',
            "```",
            "",
            "It has the fields of an issuer in `[serve]`, from `issuer` to `step_up_acr`, and these:",
            "",
            "| field | default | |",
            "|---|---|---|",
            *(
                _described(name, field)
                for name, field in SignInSettings.model_fields.items()
                if name not in IssuerSettings.model_fields
            ),
            "",
            "## Audit export",
            "",
            "A collector of audit rows, called as its table is; see [audit-export.md](audit-export.md):",
            "",
            "```toml",
            "[audit_export.siem]",
            'url = "https://collector.example.com/deputize"',
            'authorization_file = "/run/secrets/siem"',
            "```",
            "",
            "| field | default | |",
            "|---|---|---|",
            *(_described(name, field) for name, field in AuditExportSettings.model_fields.items()),
            "",
        ]
    )


def _setting(name: str, field: FieldInfo) -> str:
    return f"| `DEPUTIZE_{name.upper()}` | `{name}` | {_default(name, field)} | {field.description} |"


def _app(name: str, field: FieldInfo) -> str:
    return f"| `{name}` | {'required' if field.is_required() else _default(name, field)} |"


def _source(kind: type[BaseModel]) -> list[str]:
    """Return one kind of source: its fields in `[apps.NAME.source]`."""
    rows = [_described(name, field) for name, field in kind.model_fields.items() if name != "kind"]
    kinds = " or ".join(f"`{one}`" for one in get_args(kind.model_fields["kind"].annotation))
    return [f"With `kind` {kinds}:", "", "| field | default | |", "|---|---|---|", *rows, ""]


def _provider_fields() -> Iterator[str]:
    """Return all fields of a provider, those of its tables ``oauth`` and ``apis`` with the table's name."""
    parts: dict[str, type[BaseModel]] = {"oauth": OAuthSettings, "apis": ApiSettings}
    for name, field in ProviderSettings.model_fields.items():
        inner = parts[name].model_fields if name in parts else {}
        yield from (_described(f"{name}.{one}", below) for one, below in inner.items())
        if name not in parts:
            yield _described(name, field)


def _described(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else _default(name, field)
    return f"| `{name}` | {default} | {field.description} |"


def _default(name: str, field: FieldInfo) -> str:
    if name == "home":
        return "the platform's folder for data"
    value = field.get_default(call_default_factory=True)
    if get_origin(field.annotation) is Literal:
        return " or ".join(f"`{one}`" for one in get_args(field.annotation)) + f"; `{value}`"
    if value in (None, "", " ", {}, [], (), frozenset()) or isinstance(value, SecretStr | BaseModel):
        return ""
    return f"`{str(value).lower()}`"


def _paragraph(described: type[Any]) -> list[str]:
    text = re.sub(r"``(.*?)``", r"`\1`", inspect.getdoc(described) or "")
    return text.partition("\n\n")[2].splitlines()


def errors_page() -> str:
    """Return every error: its code, when it is raised, its fields, and what to do."""
    rows = [_error(kind) for kind in _kinds()]
    return "\n".join(
        [
            "# Errors",
            "",
            MADE,
            "",
            "`Deputy.act` returns the tool's result, or raises one of these. All are `deputize.core.DeputizeError`:",
            "`error.code` is stable, for programs; `str(error)` is one sentence that may be shown to a model;",
            "`error.hint` says what to do about it. None holds a token, a request, an answer or a link in its text.",
            "",
            "The other methods of a deputy raise these errors too, and no others, for all values of the types in their",
            "signatures. A value of another type is a mistake in your program: it raises one of these or `TypeError`.",
            "",
            "`error.from_provider` is the provider's own reason for a refusal: its message, fields and codes, without",
            "secrets, at most 300 characters of message. It is marked `untrusted`: a stranger may have written it.",
            "Models read it as JSON after the sentence. `error.provider_says` is the same in one line for people.",
            "",
            "| error | code | when | also carries | usual hint |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _kinds() -> Iterator[type[DeputizeError]]:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, DeputizeError) and kind is not DeputizeError:
            yield kind


def _error(kind: type[DeputizeError]) -> str:
    more = [name for name in inspect.signature(kind).parameters if name not in ("message", "hint")]
    when = re.sub(r"``(.*?)``", r"`\1`", " ".join((inspect.getdoc(kind) or "").split()))
    carries = ", ".join(f"`{name}`" for name in more)
    return f"| `{kind.__name__}` | `{kind.code}` | {when} | {carries} | {kind.default_hint} |"


def audit_page() -> str:
    """Return every audit event and its fields, each with its meaning."""
    fields = {name: what for kind in EVENTS.values() for name, what in event_fields(kind).items()}
    return "\n".join(
        [
            "# Audit events",
            "",
            MADE,
            "",
            "One row for each event, as a line of JSON: `deputize audit --json`. Every row has `ts` (UTC, ns),",
            "`writer`, `seq`, `event`, `prev` and `mac`, and those of the event's fields that are not empty. None is a",
            "secret, an argument or a result in plain text; accounts and arguments are keyed digests. `sealed` can be",
            "read only with the user's key in the vault. A row that no key of the vault made is listed with",
            '`"unproven": true`: somebody else wrote it.',
            "",
            "To find rows, and to send them to other systems: [audit-export.md](audit-export.md).",
            "",
            "| event | when | fields |",
            "|---|---|---|",
            *(_event(name, kind) for name, kind in EVENTS.items()),
            "",
            "## Fields",
            "",
            "| field | |",
            "|---|---|",
            *(f"| `{name}` | {what} |" for name, what in sorted(fields.items())),
            "",
        ]
    )


def _event(name: str, kind: type[Event]) -> str:
    meaning = re.sub(r"``(.*?)``", r"`\1`", " ".join((inspect.getdoc(kind) or "").split()))
    return f"| `{name}` | {meaning} | {', '.join(f'`{field}`' for field in event_fields(kind))} |"


def event_fields(kind: type[Facts]) -> dict[str, str]:
    """Return each field's meaning, with those of its groups in place."""
    found: dict[str, str] = {}
    hints = get_type_hints(kind, include_extras=True)
    for field in kind.form:
        hint = hints[field]
        if get_origin(hint) is Annotated:
            found[field] = hint.__metadata__[0]
            continue
        [group] = [one for one in (hint, *get_args(hint)) if isinstance(one, type) and issubclass(one, Facts)]
        found |= event_fields(group)
    return found


def retention_page() -> str:
    """Return the page with the rows that `deputize retention` prints by default."""
    head = "| Data | Kept | Setting |\n|---|---|---|\n"
    before, _, after = (ROOT / "docs/retention.md").read_text().partition(head)
    settings = Settings.model_construct()
    rows = [(one.what, one.how_long, one.setting) for one in retention_rows(settings)]
    rows.append(("audit", audit_life(settings), "audit_retention_days"))
    made = [f"| {what} | {kept} |{f' `DEPUTIZE_{by.upper()}`' if by else ''} |" for what, kept, by in rows]
    return f"{before}{head}" + "\n".join(made) + after[after.index("\n\n") :]


PAGES: Final[dict[str, Callable[[], str]]] = {
    "docs/settings.md": settings_page,
    "docs/errors.md": errors_page,
    "docs/audit.md": audit_page,
    "docs/retention.md": retention_page,
    "docs/assets/overview.svg": picture,
}


if __name__ == "__main__":
    for page, made in PAGES.items():
        (ROOT / page).write_text(made())
        print(f"wrote {page}")
