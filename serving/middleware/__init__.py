"""ASGI middleware: access log, authentication by API key, rate limit, and validation of requests."""
