"""A client of redis that asks for a PONG every 20 ms, each time on a connection of its own.

It runs on the host whose service is measured, with Python 3 alone, until it is ended. For each poll
it writes a line to the file that it is given: when the poll began, in seconds of the machine's
monotonic clock, and 1 if the answer came in time, else 0.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import TextIO

PERIOD = 0.02
PATIENCE = 0.1
PORT = 6379


async def ping() -> None:
    """Ask once; raises OSError without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    try:
        writer.write(b"PING\r\n")
        if await reader.read(5) != b"+PONG":
            raise ConnectionError
    finally:
        writer.close()


async def poll(file: TextIO) -> None:
    """Ask once and write down how it went."""
    began = time.monotonic()
    try:
        await asyncio.wait_for(ping(), PATIENCE)
        answered = 1
    except OSError:  # a TimeoutError is one
        answered = 0
    file.write(f"{began:.4f} {answered}\n")


async def main(path: str) -> None:
    """Begin a poll at each period, whatever has become of the one before."""
    polls = set()
    with Path(path).open("w", buffering=1, encoding="ascii") as file:
        due = time.monotonic()
        while True:
            task = asyncio.ensure_future(poll(file))
            polls.add(task)
            task.add_done_callback(polls.discard)
            due += PERIOD
            await asyncio.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
