"""A server made with the Python MCP SDK (pip install mcp) that tells the weather, for tests."""
try:
    from mcp.server.mcpserver import MCPServer
except ImportError:  # before 2.0
    from mcp.server.fastmcp import FastMCP as MCPServer

server = MCPServer("weather")


@server.tool(structured_output=False)
def get_weather(city: str) -> str:
    """Get the weather of a city"""
    return '{"weather": "12 degrees"}'


server.run()
