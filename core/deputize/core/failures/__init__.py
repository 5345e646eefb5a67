"""From a provider's answer to what has to be done about it.

`classify` reads status, headers and body and names one of ten failure classes, or OK. Providers differ only in data:
a `Rules` says where failures hide, and holds tables whose rows say "when this is seen, it means that". A row is
believed in this order: limits before permissions, the organization before the user, scopes before everything else.

`lost` judges a request that got no answer, and `denied` the ``error`` a browser brought back. `redact` masks what looks
like a secret in any text.
"""

from deputize.core.failures.classify import classify, denied, lost
from deputize.core.failures.json_rpc import RpcErrors, RpcId, is_refusal
from deputize.core.failures.outcome import SERVER_ERROR, Call, FixBy, Kind, Outcome, outcome_of, scope_list
from deputize.core.failures.parse import token_reply
from deputize.core.failures.redaction import TokenShape, redact
from deputize.core.failures.rules import Budget, RefusedAnswer, Rules, When, table, when

__all__ = [
    "SERVER_ERROR",
    "Budget",
    "Call",
    "FixBy",
    "Kind",
    "Outcome",
    "RefusedAnswer",
    "RpcErrors",
    "RpcId",
    "Rules",
    "TokenShape",
    "When",
    "classify",
    "denied",
    "is_refusal",
    "lost",
    "outcome_of",
    "redact",
    "scope_list",
    "table",
    "token_reply",
    "when",
]
