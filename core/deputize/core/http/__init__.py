"""HTTP for all requests of deputize: one pooled transport per event loop, and no state shared between users.

An `httpx.Request` goes in, a fully read `httpx.Response` comes out. Without a client object in between there is no
cookie jar, no redirect, no default header, no proxy or login from the environment and no log line with a URL, and a
call costs much less. Every failure is a `ProviderUnavailable` that says whether the request may have arrived.
"""

from deputize.core.http.aiohttp import FastTransport
from deputize.core.http.client import Http, Transport
from deputize.core.http.request import LeanRequest

__all__ = ["FastTransport", "Http", "LeanRequest", "Transport"]
