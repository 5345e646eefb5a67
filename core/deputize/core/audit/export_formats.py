"""Forms in which audit rows leave deputize: JSON lines, OCSF, syslog (RFC 5424) and OpenTelemetry logs (OTLP/JSON).

All of them are ASCII without control characters, because JSON escapes everything else. So no value in a row can begin
another line, message or record.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from deputize.core.audit.cursor import GenuineRow
from deputize.core.audit.ocsf import HIGH, INFORMATIONAL, LOW, MEDIUM, PRODUCT, ocsf_event, ocsf_line

LineFormat: TypeAlias = Literal["jsonl", "ocsf", "syslog"]
MAX_SYSLOG_BYTES: Final = 8192
"""Bytes of a syslog message: what every receiver should take (RFC 5425 4.3.1)."""
LOG_AUDIT: Final = 13
"""The facility of audit messages (RFC 5424 6.2.1)."""
_SYSLOG_SEVERITIES: Final = {INFORMATIONAL: 6, LOW: 5, MEDIUM: 4, HIGH: 3}
_OTEL_SEVERITIES: Final = {INFORMATIONAL: (9, "INFO"), LOW: (10, "INFO2"), MEDIUM: (13, "WARN"), HIGH: (17, "ERROR")}
_HEADER_WORD: Final = re.compile(r"[^!-~]+")
_HEX: Final = re.compile(r"[0-9a-f]+")


def json_line(made: GenuineRow) -> bytes:
    """Return the row exactly as its mac covers it: `deputize audit verify --anchors` can check such lines."""
    return made.line


def syslog_message(made: GenuineRow) -> bytes:
    """Return a message of RFC 5424 whose text is the OCSF event. A longer one than `MAX_SYSLOG_BYTES` has its long
    strings cut, and says so (`metadata.is_truncated`)."""
    event = ocsf_event(made)
    at = datetime.fromtimestamp(made.row["ts"] / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    priority = LOG_AUDIT * 8 + _SYSLOG_SEVERITIES[event["severity_id"]]
    words = (_header(platform.node(), 255), PRODUCT["name"], _header(made.writer, 128), _header(made.row["event"], 32))
    head = f"<{priority}>1 {at} {' '.join(words)} - ".encode("ascii")
    text = whole = _dump(event)
    for most in (256, 64, 16):
        if len(head) + len(text) <= MAX_SYSLOG_BYTES:
            break
        metadata = event["metadata"] | {"is_truncated": True, "untruncated_size": len(whole)}
        text = _dump(_cut({**event, "metadata": metadata}, most))
    return head + text


def cut_row(made: GenuineRow) -> GenuineRow:
    """Return the row with its long strings cut, for a collector that refuses it as it is. Its mac does not fit then."""
    row = _cut(made.row, 64) | {"truncated": True}
    return GenuineRow(row, _dump(row))


def _header(text: str, most: int) -> str:
    """Return a word of a header: visible ASCII (RFC 5424 6)."""
    return _HEADER_WORD.sub("_", text)[:most] or "-"


def _cut(value: Any, most: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= most else f"{value[: most - 3]}..."
    if isinstance(value, Mapping):
        return {name: _cut(one, most) for name, one in value.items()}
    return [_cut(one, most) for one in value[:most]] if isinstance(value, list) else value


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


LINE_FORMATS: Final[Mapping[LineFormat, Callable[[GenuineRow], bytes]]] = {
    "jsonl": json_line,
    "ocsf": ocsf_line,
    "syslog": syslog_message,
}


def otlp_request(rows: Sequence[GenuineRow]) -> bytes:
    """Return an export request for OpenTelemetry logs, in OTLP's JSON form. The body of each record is the OCSF event.

    https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
    """
    scope = {"scope": {"name": "deputize.audit"}, "logRecords": [_log_record(made) for made in rows]}
    resource = {"attributes": [_attribute("service.name", PRODUCT["name"])]}
    return _dump({"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]})


def _log_record(made: GenuineRow) -> dict[str, Any]:
    event = ocsf_event(made)
    number, text = _OTEL_SEVERITIES[event["severity_id"]]
    record: dict[str, Any] = {
        "timeUnixNano": str(made.row["ts"]),
        "severityNumber": number,
        "severityText": text,
        "eventName": f"deputize.{made.row['event']}",
        "body": {"stringValue": _dump(event).decode("ascii")},
        "attributes": [_attribute("log.record.uid", made.uid)],
    }
    for name, field, digits in (("traceId", "trace_id", 32), ("spanId", "span_id", 16)):
        value = made.row.get(field)
        if isinstance(value, str) and len(value) == digits and _HEX.fullmatch(value):
            record[name] = value
    return record


def _attribute(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": {"stringValue": value}}
