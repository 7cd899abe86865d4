#!/usr/bin/env python3
"""Records a chat with the built-in model as a person at a terminal sees it: docs/chat.cast (asciinema's format) and docs/chat.png.

    python3 -m venv V && V/bin/pip install pyte==0.8.2 pillow==13.0.0
    V/bin/python tools/record.py target/release/smolq --font /usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf
"""
import argparse
import fcntl
import json
import os
import pty
import select
import struct
import tempfile
import termios
import time
from pathlib import Path

import pyte
from PIL import Image, ImageDraw, ImageFont

COLUMNS, ROWS = 80, 26
COLOURS = {"default": "#d8dee9", "faint": "#7b8494", "red": "#e06c75", "green": "#98c379", "cyan": "#56b6c2", "brown": "#e5c07b"}
BACKGROUND = "#20242c"
WEATHER = [{"name": "get_weather", "description": "Get the weather of a city", "command": ["./weather", "{city}"], "stdin": "none",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]
# What is waited for, and what is typed then.
SCRIPT = [(">>> ", "What is 23 + 45?\r"), ("68.", ""), (">>> ", "What is the weather in Lisbon?\r"), ("[s]top: ", "y"), (">>> ", "/stats\r"),
          ("ended by", ""), (">>> ", "\x04")]


class Screen(pyte.Screen):
    """A screen that knows dimmed text, as a colour."""

    def select_graphic_rendition(self, *attributes, **more):
        super().select_graphic_rendition(*(a for a in attributes if a != 2), **more)
        if 2 in attributes:
            self.cursor.attrs = self.cursor.attrs._replace(fg="faint")


def record(program, folder):
    """What the terminal showed, with times in seconds, and the screen before the program left."""
    tools = Path(folder) / "tools.json"
    tools.write_text(json.dumps(WEATHER))
    program_of_tool = Path(folder) / "weather"
    program_of_tool.write_text('#!/bin/sh\necho \'{"weather": "21 degrees"}\'\n')
    program_of_tool.chmod(0o755)
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", XDG_STATE_HOME=folder)
        os.execv(program, [program, "run", "tiny", "--temp", "0", "--think", "on", "--tools", str(tools)])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    screen = Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    start, events, seen, last = time.time(), [], b"", None
    script = list(SCRIPT)
    while True:
        ready, _, _ = select.select([terminal], [], [], 20)
        if not ready:
            raise SystemExit(f"nothing comes after {seen[-300:]!r}")
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the end of a terminal
            break
        if not data:
            break
        events.append((time.time() - start, data.decode(errors="replace")))
        stream.feed(data)
        seen += data
        while script and script[0][0].encode() in seen:
            wanted, keys = script.pop(0)
            seen = seen[seen.index(wanted.encode()) + len(wanted):]
            if keys == "\x04":
                last = [dict(screen.buffer[row]) for row in range(ROWS)]
            for key in keys:
                time.sleep(0.03)
                os.write(terminal, key.encode())
    os.waitpid(child, 0)
    if script:
        raise SystemExit(f"ended before {script[0][0]!r}")
    return events, last


def draw(rows, font):
    width, height = font.getlength("M"), 20
    used = max(i for i, row in enumerate(rows) if any(cell.data.strip() for cell in row.values())) + 1
    picture = Image.new("RGB", (round(width * COLUMNS) + 32, height * used + 32), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    for y, row in enumerate(rows[:used]):
        for x, cell in row.items():
            pen.text((16 + x * width, 16 + y * height), cell.data, font=font, fill=COLOURS.get(cell.fg, COLOURS["default"]))
    return picture


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=os.path.abspath)
    parser.add_argument("--font", required=True)
    arguments = parser.parse_args()
    docs = Path(__file__).parent.parent / "docs"
    with tempfile.TemporaryDirectory() as folder:
        events, rows = record(arguments.program, folder)
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "command": "smolq run tiny"}
    lines = [header] + [[round(at, 3), "o", text] for at, text in events]
    (docs / "chat.cast").write_text("".join(json.dumps(line) + "\n" for line in lines))
    draw(rows, ImageFont.truetype(arguments.font, 15)).save(docs / "chat.png", optimize=True)


main()
