"""A stream whose bytes are damaged on the way: either end gives up with a line or continues, and neither crashes.

The library parses what strangers send, in this process; a fault there would end the extractor or the watchdog.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path

import pytest

from tests.support.stream_rig import TIME_NS, Kept, added, in_loop, served
from tests.support.waiting import reached
from watchdog.core.errors import SourceError
from watchdog.core.where_tree import Apply, FieldValue
from watchdog.stream.client import StreamClient

CASES = 60


class Damaging:
    """Passes bytes on between a client and a server, and damages some of them on the way to one of the two."""

    def __init__(self, target: str, chance: random.Random, *, to_server: bool) -> None:
        self._target, self._chance, self._to_server = target, chance, to_server
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        there, answer = await asyncio.open_unix_connection(self._target)
        self._tasks = [
            asyncio.create_task(self._pump(reader, answer, damage=self._to_server)),
            asyncio.create_task(self._pump(there, writer, damage=not self._to_server)),
        ]
        await asyncio.wait(self._tasks)
        for one in (writer, answer):
            one.close()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, damage: bool) -> None:
        try:
            while data := await source.read(65_536):
                raw = bytearray(data)
                if damage and self._chance.random() < 0.7:
                    for _ in range(self._chance.randrange(1, 4)):
                        raw[self._chance.randrange(len(raw))] = self._chance.randrange(256)
                cut = len(raw) if not damage or self._chance.random() < 0.9 else self._chance.randrange(len(raw))
                target.write(bytes(raw[:cut]))
                await target.drain()
                if cut < len(raw):
                    break
            target.write_eof()
        except (OSError, RuntimeError):  # the other side is gone
            return


async def read_through(folder: Path, seed: int, *, to_server: bool) -> str:
    """Read a served stream through a damaging proxy; return how it ended."""
    async with served(folder) as rig:
        damaging = Damaging(rig.path, random.Random(seed), to_server=to_server)
        proxy = await asyncio.start_unix_server(damaging, folder / "proxy")
        client = StreamClient(str(folder / "proxy"), Kept(), node="n", source="s")
        ending = "well"
        try:
            async with asyncio.timeout(3):
                await client.open("test")
                where = Apply("<", (FieldValue("vsize_vb"), 500))
                await client.subscribe({"mempool:added": where}, {"tx": 5}, {"a:b": (("x", "u64", "us"),)})
                for number in range(5):
                    rig.server.publish([added(700, number)], TIME_NS)
                    rig.server.heartbeat(TIME_NS + number, {"x": 1.0})
                    await asyncio.sleep(0.005)
                await rig.server.end("over", final=True)
                await client.ended()
        except SourceError as error:
            ending = str(error)
            assert "\n" not in ending
        except TimeoutError:
            ending = "nothing more came"
        finally:
            client.close()
            proxy.close()
        # the server is well: an honest reader gets all
        honest, kept = await rig.reader("mempool:added")
        rig.server.publish([added(3)], TIME_NS)
        rig.server.flush()
        await reached(lambda: len(kept.column("vsize_vb")) == 3)
        honest.close()
        return ending


@pytest.mark.slow
@pytest.mark.parametrize("to_server", [True, False], ids=["to the server", "to the reader"])
def test_damaged_bytes_crash_neither_end(*, to_server: bool) -> None:
    endings = []
    for seed in range(CASES):
        with tempfile.TemporaryDirectory() as name:

            async def work(folder: Path = Path(name), seed: int = seed) -> None:
                endings.append(await read_through(folder, seed, to_server=to_server))

            in_loop(work)
    assert len(endings) == CASES
    assert len(set(endings)) > 3, "the damage shows"
