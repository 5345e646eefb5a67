"""Let agents act as the user, never with the user's token.

    from deputize.core import Deputy

    deputy = Deputy.from_settings()
    deputy.run(deputy.act("gmail_search_emails", {"query": "from:bob"}, user="alice"))

The engine: it knows no agent framework. Toolkits say what can be done, adapters speak to frameworks.
"""

from deputize.core.adapter_api import DeputyProtocol
from deputize.core.approvals.mandate_record import Mandate, MandateOffer
from deputize.core.consent.device import DeviceCode
from deputize.core.deputy import Deputy
from deputize.core.errors import (
    AccountMismatch,
    ApprovalRequired,
    AuditNotExported,
    Conflict,
    ConsentRequired,
    Declined,
    DeputizeError,
    InvalidInput,
    NotFound,
    OrgBlocked,
    OutcomeUnknown,
    PolicyDenied,
    ProviderUnavailable,
    RateLimited,
    ReconsentRequired,
    ScopeNotGranted,
    SettingsError,
    StoreUnavailable,
    UserRequired,
    VaultError,
)
from deputize.core.grants.connections import Connection
from deputize.core.grants.revoke import Revoked
from deputize.core.idempotency.undo import Undoable
from deputize.core.in_flight import exit_on_sigterm
from deputize.core.oauth.app import IdentityAssertion, ServiceAccount, TokenExchange
from deputize.core.oauth.credential import Credential
from deputize.core.oauth.discover import discover
from deputize.core.oauth.provider import ApiRules, App, Identity, OAuthEndpoints, Provider
from deputize.core.policy.find_policy import policy_file
from deputize.core.policy.policy import (
    Decision,
    Policy,
    Verdict,
    allow_all,
    ask_before_sending,
    ask_unless_user_named,
    read_only,
)
from deputize.core.providers import PROVIDERS
from deputize.core.question_feed import ApprovalChangePayload, ConsentChangePayload, QuestionChange
from deputize.core.tools.act import Act, Call
from deputize.core.tools.act_key import ActKey
from deputize.core.tools.continuation import Continuation
from deputize.core.tools.preview import Audience, Change, Danger, Instant, Preview, shown_file
from deputize.core.tools.required_scopes import Need, any_of
from deputize.core.tools.search import ToolIndex
from deputize.core.tools.steps import (
    Answer,
    File,
    Keep,
    ParseFile,
    PublicRequest,
    Request,
    ResolvePerson,
    SaveNote,
    Steps,
    Take,
    TimeZone,
    Undo,
    Wait,
)
from deputize.core.tools.tool import Alias, Effect, Run, Tool
from deputize.core.tools.toolkit import Toolkit
from deputize.core.tools.untrusted import Untrusted, system_prompt
from deputize.core.tools.user_time import UserTime
from deputize.core.user_requests import (
    Approval,
    ApprovalPayload,
    Consent,
    ConsentPayload,
    Decisions,
    Edit,
    RequestPayload,
)
from deputize.core.vault.grant import Account, AnyUser, Secret, User

__all__ = [
    "PROVIDERS",
    "Account",
    "AccountMismatch",
    "Act",
    "ActKey",
    "Alias",
    "Answer",
    "AnyUser",
    "ApiRules",
    "App",
    "Approval",
    "ApprovalChangePayload",
    "ApprovalPayload",
    "ApprovalRequired",
    "Audience",
    "AuditNotExported",
    "Call",
    "Change",
    "Conflict",
    "Connection",
    "Consent",
    "ConsentChangePayload",
    "ConsentPayload",
    "ConsentRequired",
    "Continuation",
    "Credential",
    "Danger",
    "Decision",
    "Decisions",
    "Declined",
    "DeputizeError",
    "Deputy",
    "DeputyProtocol",
    "DeviceCode",
    "Edit",
    "Effect",
    "File",
    "Identity",
    "IdentityAssertion",
    "Instant",
    "InvalidInput",
    "Keep",
    "Mandate",
    "MandateOffer",
    "Need",
    "NotFound",
    "OAuthEndpoints",
    "OrgBlocked",
    "OutcomeUnknown",
    "ParseFile",
    "Policy",
    "PolicyDenied",
    "Preview",
    "Provider",
    "ProviderUnavailable",
    "PublicRequest",
    "QuestionChange",
    "RateLimited",
    "ReconsentRequired",
    "Request",
    "RequestPayload",
    "ResolvePerson",
    "Revoked",
    "Run",
    "SaveNote",
    "ScopeNotGranted",
    "Secret",
    "ServiceAccount",
    "SettingsError",
    "Steps",
    "StoreUnavailable",
    "Take",
    "TimeZone",
    "TokenExchange",
    "Tool",
    "ToolIndex",
    "Toolkit",
    "Undo",
    "Undoable",
    "Untrusted",
    "User",
    "UserRequired",
    "UserTime",
    "VaultError",
    "Verdict",
    "Wait",
    "allow_all",
    "any_of",
    "ask_before_sending",
    "ask_unless_user_named",
    "discover",
    "exit_on_sigterm",
    "policy_file",
    "read_only",
    "shown_file",
    "system_prompt",
]
