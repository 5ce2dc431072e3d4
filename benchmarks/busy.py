"""The edge with a busy event loop: `python -m benchmarks.busy run --config ...` in place of `sipedge run --config ...`.

Its worker's loop spends BUSY of every PERIOD in one callback. What the media thread does must not notice.
"""
import asyncio
import time

import proxy.supervisor
import proxy.worker
from proxy import cli

PERIOD, BUSY = 0.010, 0.003  # seconds


class BusyWorker(proxy.worker.Worker):
    """A worker that computes."""

    async def run(self) -> None:
        self._compute()
        await super().run()

    def _compute(self) -> None:
        """Hold the loop and the interpreter."""
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        loop.call_later(PERIOD, self._compute)
        while time.perf_counter() - began < BUSY:
            sum(range(1000))


def main() -> None:
    """Run as a worker."""
    proxy.worker.Worker = BusyWorker  # type: ignore[misc]
    proxy.worker.main()


if __name__ == "__main__":
    proxy.supervisor.WORKER = "benchmarks.busy"
    cli.main()
