"""An MCP server over stdio in plain Python, for tests. The first argument says how it behaves, the second names a file for its process ids."""
import json
import os
import subprocess
import sys
import time

mode = sys.argv[1]
calls = 0


def note(*pids):
    if len(sys.argv) > 2:
        with open(sys.argv[2], "a") as file:
            file.write("".join(f"{pid}\n" for pid in pids))


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
    sys.stdout.flush()


def tool(name, **properties):
    return {"name": name, "description": f"The tool {name}", "inputSchema": {"type": "object", "properties": properties}}


PAGES = [
    [tool("echo", text={"type": "string"}), tool("fail"), tool("picture"), tool("structured"), tool("big")],
    [],
    [tool("hang"), tool("die"), tool("count"), tool("where"), tool("refuse"), tool("sp ace/x"), tool("get_time")],
]


def text(*parts, **more):
    return {"content": [{"type": "text", "text": part} for part in parts]} | more


def call(name, arguments):
    global calls
    calls += 1
    if name == "echo":
        return text(arguments.get("text", ""), json.dumps(arguments, sort_keys=True))
    if name == "fail":
        return text("it did not work", isError=True)
    if name == "picture":
        return {"content": [{"type": "text", "text": "a cat"}, {"type": "image", "data": "AAAA", "mimeType": "image/png"},
                            {"type": "resource", "resource": {"uri": "file:///a", "text": "inside"}}]}
    if name == "structured":
        return {"content": [], "structuredContent": {"degrees": 21}}
    if name == "big":
        return text("x" * 100_000)
    if name == "hang":
        time.sleep(60)
    if name == "die":
        print("oh no\nmy disk is full", file=sys.stderr, flush=True)
        os._exit(3)
    if name == "count":
        return text(str(calls))
    if name == "where":
        return text(os.getcwd() + " " + os.environ.get("PLACE", "nowhere"))
    return text("called")


note(os.getpid())
if mode == "dead":
    print("no licence found", file=sys.stderr)
    sys.exit(2)
if mode == "stubborn":
    note(subprocess.Popen(["sleep", "60"]).pid)
if mode == "flood":
    while True:
        sys.stdout.write("x" * 65536)
if mode == "garbage":
    while True:
        print("this is [no JSON", '{"jsonrpc": "2.0", "what": 1}', "[]", "\x00\xff", sep="\n", flush=True)
        time.sleep(0.01)

for line in sys.stdin:
    message = json.loads(line)
    method, params = message.get("method"), message.get("params") or {}
    if mode == "silent" or "id" not in message:
        continue
    if mode == "noisy":
        print("a line for people\n{\"broken\": ", flush=True)
    if method == "initialize":
        send({"id": message["id"], "result": {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}},
                                              "serverInfo": {"name": "test", "version": "1"}}})
        if mode == "brief":
            sys.exit(0)
    elif method == "tools/list":
        page = int(params.get("cursor") or 0)
        result = {"tools": PAGES[page]}
        if page + 1 < len(PAGES):
            result["nextCursor"] = str(page + 1)
        if mode == "endless":
            result = {"tools": [], "nextCursor": "0"}
        if mode == "bare":
            result = {"tools": []}
        send({"id": message["id"], "result": result})
    elif method == "tools/call" and params["name"] == "refuse":
        send({"id": message["id"], "error": {"code": -32602, "message": "not today"}})
    elif method == "tools/call":
        send({"id": message["id"], "result": call(params["name"], params.get("arguments") or {})})
    else:
        send({"id": message["id"], "error": {"code": -32601, "message": f"no {method}"}})
if mode == "stubborn":
    time.sleep(60)
