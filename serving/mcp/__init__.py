"""An MCP server, so that an assistant can ask the service what a person may ask it.

It is a client of the REST interface and holds no data: every call goes to the service with the caller's own
key, so that keys, scopes, tenants, limits and the decision log are those of REST.
"""
