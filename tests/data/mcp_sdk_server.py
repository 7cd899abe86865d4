"""A server made with the Python MCP SDK (pip install mcp), for tests."""
import asyncio
import os

try:
    from mcp.server.mcpserver import Image, MCPServer
except ImportError:  # before 2.0
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.server.fastmcp import Image

server = MCPServer("sdk")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers"""
    return a + b


@server.tool()
def greet(name: str, loud: bool = False) -> str:
    """Greet somebody"""
    return f"Hello, {name}!".upper() if loud else f"Hello, {name}!"


@server.tool()
def fail() -> str:
    """Fail always"""
    raise ValueError("the well is dry")


@server.tool()
async def wait(seconds: float) -> str:
    """Wait"""
    await asyncio.sleep(seconds)
    return "done"


@server.tool()
def picture() -> Image:
    """A picture"""
    return Image(data=b"\x89PNG", format="png")


@server.tool()
def leave() -> str:
    """End the server"""
    os._exit(7)


server.run()
