"""Answers the Model Context Protocol over stdio or HTTP with what REST answers to the caller's key."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx2
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from starlette.requests import Request
from starlette.responses import Response

from serving.mcp.tools import INSTRUCTIONS, TOOLS, RestRequest, RestTool, ToolArgumentError
from serving.middleware.hosts import is_loopback
from serving.problems import PROBLEM_JSON, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mcp.server.context import ServerRequestContext
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"
KEY, KEY_FILE, SERVICE_URL = "LEADLOOP_KEY", "LEADLOOP_KEY_FILE", "LEADLOOP_URL"
_WAITS = 30.0
_OTHERS_MAY_READ = 0o077
_AUTHORIZATION, _FORWARDED_FOR = "authorization", "x-forwarded-for"
# Any of them says that a proxy passed the request on.
_FORWARDED = (_FORWARDED_FOR, "forwarded", "x-forwarded-host", "x-real-ip")
_TOOLS = {tool.name: tool for tool in TOOLS}


class McpError(ValueError):
    """The MCP server cannot be started; the message says why."""


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """What the service answered: a status and the JSON of its body."""

    status: int
    body: Any

    @property
    def is_problem(self) -> bool:
        """Whether it refused."""
        return self.status != HTTPStatus.OK


class RestClient:
    """Asks the service in the name of whoever calls.

    Args:
        url: The address of the service.
        key: The key of the only caller. Default: none; each request brings its own.
    """

    def __init__(self, url: str, key: str = "") -> None:
        self.url = url
        self._own = {_AUTHORIZATION: f"Bearer {key}"} if key else {}
        # What the environment says of proxies is about other networks than the service's.
        self._client = httpx2.AsyncClient(base_url=url, timeout=_WAITS, trust_env=False)

    async def ask(self, request: RestRequest, caller: Request | None = None) -> RestAnswer:
        """What the service answers to a request; a problem of our own where it cannot be reached."""
        headers = {**self._own, **(_headers_of(caller) if caller is not None else {})}
        try:
            response = await self._client.request(
                request.method,
                request.path,
                params=request.query,
                json=request.body,
                headers=headers,
            )
            return RestAnswer(response.status_code, response.json())
        except (httpx2.HTTPError, ValueError):
            detail = f"the service at {self.url} cannot be reached; is it running?"
            problem = Problem(HTTPStatus.BAD_GATEWAY, "service_unreachable", detail)
            return RestAnswer(problem.status, json.loads(problem.body))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _headers_of(caller: Request) -> dict[str, str]:
    """The caller's key, and where it comes from another machine its address.

    Without the address a service without keys would take anybody for a program on its own machine.
    """
    headers = {}
    if _AUTHORIZATION in caller.headers:
        headers[_AUTHORIZATION] = caller.headers[_AUTHORIZATION]
    host = caller.client.host if caller.client else ""
    is_passed_on = any(name in caller.headers for name in _FORWARDED)
    if is_passed_on or not is_loopback(host):
        headers[_FORWARDED_FOR] = caller.headers.get(_FORWARDED_FOR) or host or "unknown"
    return headers


def build_server(rest: RestClient) -> Server[Any]:
    """An MCP server whose tools are those that the caller's key has the scopes for.

    Args:
        rest: The client of the service.

    Returns:
        The server, for any transport.
    """

    async def list_tools(
        context: ServerRequestContext[Any], _: PaginatedRequestParams | None
    ) -> ListToolsResult:
        answer = await rest.ask(WHOSE_KEY, _caller(context))
        if answer.is_problem:
            raise MCPError(INVALID_REQUEST, str(answer.body.get("detail", "")), answer.body)
        scopes = answer.body["scopes"]
        return ListToolsResult(tools=[_described(tool) for tool in TOOLS if tool.scope in scopes])

    async def call_tool(context: ServerRequestContext[Any], call: CallToolRequestParams) -> CallToolResult:
        tool = _TOOLS.get(call.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"there is no tool {call.name[:40]!r}")
        try:
            request = tool.request(call.arguments or {})
        except ToolArgumentError as error:
            problem = Problem(HTTPStatus.BAD_REQUEST, "invalid_value", str(error), "lead_id")
            return _result(RestAnswer(problem.status, json.loads(problem.body)))
        return _result(await rest.ask(request, _caller(context)))

    return Server(
        "leadloop",
        title="leadloop: lead scores with reasons",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


WHOSE_KEY = RestRequest("GET", "/v1/key")


def _caller(context: ServerRequestContext[Any]) -> Request | None:
    return context.request if isinstance(context.request, Request) else None


def _described(tool: RestTool) -> Tool:
    return Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.takes,
        output_schema=tool.answers,
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.is_read_only,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )


def _result(answer: RestAnswer) -> CallToolResult:
    """The answer as structured content, or the problem as an error that the assistant can read."""
    text = TextContent(type="text", text=json.dumps(answer.body, ensure_ascii=False))
    if answer.is_problem:
        return CallToolResult(content=[text], is_error=True)
    return CallToolResult(content=[text], structured_content=answer.body)


async def serve_stdio(url: str, key: str) -> None:
    """Answer the program that started this process, over its standard input and output, until it closes them.

    Args:
        url: The address of the service.
        key: The key; "" for a service on this machine that has no keys.
    """
    rest = RestClient(url, key)
    try:
        server = build_server(rest)
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    finally:
        await rest.close()


def http_app(url: str, allowed_hosts: Sequence[str] = ()) -> ASGIApp:
    """The ASGI application that answers the protocol over HTTP at ``PATH``, without sessions.

    Args:
        url: The address of the service.
        allowed_hosts: Names that it answers to beside those of this machine.

    Returns:
        The application. Whoever asks sends a key of the service as ``Authorization: Bearer``.
    """
    rest = RestClient(url)
    names = ["127.0.0.1", "localhost", "[::1]", *allowed_hosts]
    hosts = [host for name in names for host in (name, f"{name}:*")]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=hosts,
        allowed_origins=[f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts],
    )
    app = build_server(rest).streamable_http_app(
        streamable_http_path=PATH, json_response=True, stateless_http=True, transport_security=security
    )
    return _KeyCheck(app, rest)


class _KeyCheck:
    """ASGI middleware that refuses whoever the service would refuse, with the service's own problem."""

    def __init__(self, app: ASGIApp, rest: RestClient) -> None:
        self._app, self._rest = app, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                await self._rest.close()
            return
        if scope["type"] == "http":
            answer = await self._rest.ask(WHOSE_KEY, Request(scope))
            if answer.is_problem:
                challenge = {"www-authenticate": "Bearer"} if answer.status == HTTPStatus.UNAUTHORIZED else {}
                refusal = Response(json.dumps(answer.body), answer.status, challenge, PROBLEM_JSON)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def serve_http(url: str, host: str, port: int, allowed_hosts: Sequence[str] = ()) -> None:
    """Answer the protocol over HTTP in the foreground until an interrupt or SIGTERM.

    Args:
        url: The address of the service.
        host: The host to listen on.
        port: The TCP port.
        allowed_hosts: Names that it answers to beside those of this machine.
    """
    app = http_app(url, allowed_hosts)
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)


def read_key(file: Path | None, environment: Mapping[str, str] = os.environ) -> str:
    """The key in a file, else in the environment variable ``KEY``; "" where there is none.

    Args:
        file: The file, which nobody but its owner may read. Default: none.
        environment: Default: that of this process.

    Returns:
        The key.

    Raises:
        McpError: The file cannot be read, or others may read it.
    """
    if file is None:
        return environment.get(KEY, "").strip()
    try:
        if stat.S_IMODE(file.stat().st_mode) & _OTHERS_MAY_READ:
            msg = f"{file}: others than its owner may read the key; chmod 600 it"
            raise McpError(msg)
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        msg = f"{file}: {error.strerror}; `leadloop keys add NAME --scope score > {file}` makes a key"
        raise McpError(msg) from error
