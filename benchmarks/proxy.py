"""A proxy that stands for the network: it delays every reply of a server by a fixed time.

`python -m benchmarks.proxy HOST PORT MILLISECONDS` prints the port to connect to.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


@contextmanager
def delayed(url: str, milliseconds: float) -> Iterator[str]:
    """The URL of a proxy to this server, in a separate process. Without a delay, the server's own URL."""
    if not milliseconds:
        yield url
        return
    server = urlsplit(url)
    command = [sys.executable, "-m", __name__, str(server.hostname), str(server.port), str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield server._replace(netloc=f"127.0.0.1:{int(process.stdout.readline())}").geturl()
        finally:
            process.terminate()


async def _serve(host: str, port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(host, port)

        async def answers() -> None:
            while data := await to_reader.read(1 << 16):
                loop.call_later(seconds, writer.write, data)

        task = asyncio.create_task(answers())
        while data := await reader.read(1 << 16):
            to_writer.write(data)
        task.cancel()
        to_writer.close()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000))
