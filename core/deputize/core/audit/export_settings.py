"""The tables ``[audit_export.NAME]`` of the settings: where audit rows are sent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from deputize.core.errors import SettingsError
from deputize.core.paths import usable_path
from deputize.core.secret_files import with_secret

if TYPE_CHECKING:
    from deputize.core.audit.collectors import Collector

SYSLOG_SCHEME: Final = "syslog+tls"
SYSLOG_PORT: Final = 6514
"""The port of syslog over TLS (RFC 5425 4.1)."""
MIN_LAG_SECONDS: Final = 10.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_NAME: Final = re.compile(r"[a-z0-9-]{1,32}")
_HEADER: Final = re.compile(r"[ -~]+")
_UsablePath = Annotated[Path, AfterValidator(usable_path)]


class AuditExportSettings(BaseModel):
    """A collector that receives every audit row: ``[audit_export.NAME]``."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: str = Field(
        description="`https://HOST/PATH` (`http` on loopback only) takes batches by POST. "
        "`syslog+tls://HOST:PORT` takes syslog messages over TLS (RFC 5425); the default port is 6514."
    )
    format: Literal["ocsf", "jsonl", "otlp"] = Field(
        "ocsf",
        description="For HTTPS. `ocsf`: OCSF 1.8 events, one JSON line each. `jsonl`: the rows exactly as they are. "
        "`otlp`: OpenTelemetry logs; the path is `/v1/logs`. Syslog messages contain OCSF events.",
    )
    authorization: SecretStr | None = Field(
        None, description="Value of the header Authorization: `Bearer ...`, `Splunk ...`."
    )
    authorization_file: Path | None = Field(None, description="File that holds this value.")
    ca_file: _UsablePath | None = Field(
        None, description="Certificates (PEM) that the collector's own must lead to. None: those of the system."
    )
    client_cert_file: _UsablePath | None = Field(None, description="Our client certificate (PEM), with its chain.")
    client_key_file: _UsablePath | None = Field(None, description="Its private key (PEM), if not in the same file.")
    max_lag_seconds: float = Field(
        0.0,
        ge=0,
        le=86400 * 30,
        description="Refuse acts while rows of so many seconds ago are not acknowledged, 10 at least. 0: never.",
    )
    max_lag_refuses: Literal["writes", "all"] = Field(
        "writes", description="Acts that `max_lag_seconds` refuses: writes only, or reads too."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_secret_file(cls, values: Any) -> Any:
        return with_secret(values, "authorization")

    @model_validator(mode="after")
    def _check(self) -> AuditExportSettings:
        scheme, host, _ = _parts(self.url)
        if not host or not (scheme in ("https", SYSLOG_SCHEME) or (scheme == "http" and host in _LOOPBACK)):
            raise ValueError("url is https://HOST/PATH, syslog+tls://HOST:PORT, or http:// on loopback")
        if scheme == SYSLOG_SCHEME and (self.authorization or "format" in self.model_fields_set):
            raise ValueError("syslog has no format and no authorization: identify by client_cert_file")
        if scheme == "http" and (self.ca_file or self.client_cert_file):
            raise ValueError("certificates need https")
        if self.client_key_file and not self.client_cert_file:
            raise ValueError("client_key_file needs client_cert_file")
        if self.authorization and not _HEADER.fullmatch(self.authorization.get_secret_value()):
            raise ValueError("authorization is one line of ASCII")
        if 0 < self.max_lag_seconds < MIN_LAG_SECONDS:
            raise ValueError(f"max_lag_seconds is 0, or {MIN_LAG_SECONDS:g} at least")
        return self

    def collector(self, name: str) -> Collector:
        """Return the collector. Raises `SettingsError` for a bad name, and for certificate files that are unusable."""
        from deputize.core.audit.collectors import HttpCollector, SyslogCollector, tls_context  # only if there is one

        if not _NAME.fullmatch(name):
            raise SettingsError(
                f"audit_export.{name[:64]}: the name of a collector is a-z, 0-9 and -, at most 32 characters."
            )
        scheme, host, port = _parts(self.url)
        files = (str(one or "") for one in (self.ca_file, self.client_cert_file, self.client_key_file))
        try:
            context = None if scheme == "http" else tls_context(*files)
        except OSError as error:
            reason = error.strerror or "a file is not PEM, or the key does not fit the certificate"
            raise SettingsError(
                f"audit_export.{name}: a certificate file cannot be used: {reason}.",
                hint=f"Check ca_file, client_cert_file and client_key_file of [audit_export.{name}].",
            ) from None
        if context and scheme == SYSLOG_SCHEME:
            return SyslogCollector(host, port or SYSLOG_PORT, context)
        secret = self.authorization.get_secret_value() if self.authorization else ""
        return HttpCollector(self.url, self.format, secret, context)


def _parts(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port (0: none), or empty parts for an address that is not usable."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        return "", "", 0
    unusable = parts.username is not None or parts.fragment or not url.isascii() or any(c <= " " for c in url)
    if unusable or (parts.scheme == SYSLOG_SCHEME and (parts.path.strip("/") or parts.query)):
        return "", "", 0
    return parts.scheme, host, port
