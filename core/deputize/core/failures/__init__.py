"""Classification of provider responses, as the basis for retries and errors.

`classify` reads status, headers and body and returns one of ten failure classes, or OK. Providers differ only in data:
their `Rules` say where failures appear, and have tables from patterns to outcomes. Limits take priority over
permissions, the organization over the user, scopes over everything else. `outcome_without_answer` classifies a request
without a response, and `outcome_of_callback_error` the ``error`` of a callback. `redact` masks secrets in any text.
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
