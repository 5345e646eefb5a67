"""Every request of ours leaves here: one pooled transport for each event loop, and nothing kept between two users.

An `httpx.Request` goes in, a fully read `httpx.Response` comes out. There is no client object in between, so there is
no cookie jar, no redirect, no default header, no proxy or login from the environment and no log line with a URL in it,
and a call costs a fraction of one. Whatever goes wrong is a `ProviderUnavailable` that says whether the request may
have arrived.
"""

from deputize.core.http.aiohttp import FastTransport
from deputize.core.http.client import Http, Transport
from deputize.core.http.request import LeanRequest

__all__ = ["FastTransport", "Http", "LeanRequest", "Transport"]
