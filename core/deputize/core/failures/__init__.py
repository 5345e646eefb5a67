"""Classification of provider responses into what to do about them.

`classify` reads status, headers and body and returns one of ten failure classes, or OK. Providers differ only in data:
a `Rules` says where failures appear, and has tables of "if this is seen, it means that". Limits take priority over
permissions, the organization over the user, scopes over everything else. `lost` classifies a request without an answer,
and `denied` the ``error`` that a browser returned with. `redact` masks secrets in any text.
"""

from deputize.core.failures.classify import classify, outcome_of_callback_error, outcome_without_answer
from deputize.core.failures.json_rpc import RpcErrors, RpcId, is_refusal
from deputize.core.failures.outcome import SERVER_ERROR, STEP_UP, Call, FixBy, Kind, Outcome, outcome_of, scope_list
from deputize.core.failures.parse import token_reply
from deputize.core.failures.redaction import TokenShape, redact
from deputize.core.failures.rules import Budget, RefusedAnswer, Rules, When, table, when

__all__ = [
    "SERVER_ERROR",
    "STEP_UP",
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
    "is_refusal",
    "outcome_of",
    "outcome_of_callback_error",
    "outcome_without_answer",
    "redact",
    "scope_list",
    "table",
    "token_reply",
    "when",
]
