"""Saved transfer actions: in the database, in memory, and at every worker, so that a REFER can name them too."""
import asyncio

import msgspec

from proxy.config import Action, Config
from proxy.events import SavedActions
from proxy.log import Log

from .database import Database, Unavailable
from .records import Pause
from .workers import Unanswered, Workers


class Actions:
    """Those of the configuration come first; a saved one of the same name waits until that one is gone."""

    def __init__(self, database: Database, workers: Workers, config: Config, log: Log):
        self.log = log
        self._database = database
        self._workers = workers
        self._configured = {action.name: action for action in config.transfers}
        self._saved: dict[str, Action] = {}
        self._loaded = False
        self._sending: set[asyncio.Task[None]] = set()

    def configure(self, config: Config) -> None:
        self._configured = {action.name: action for action in config.transfers}

    def get(self, name: str) -> tuple[Action, bool] | None:
        """An action, and whether it is a saved one."""
        if name in self._configured:
            return self._configured[name], False
        found = self._saved.get(name)
        return (found, True) if found is not None else None

    def all(self) -> list[tuple[Action, bool]]:
        """Actions and whether they are saved ones, by name."""
        both = {name: (action, True) for name, action in self._saved.items()}
        both |= {name: (action, False) for name, action in self._configured.items()}
        return [both[name] for name in sorted(both)]

    async def run(self) -> None:
        """Load them, however long the database takes, and have every worker know them."""
        pause = Pause()
        while not self._loaded:
            try:
                await self._load()
            except Unavailable as error:
                if pause.first:
                    self.log.error("saved transfer actions are not known: the database cannot be used",
                                   error=str(error))
                await pause.wait()
        self._workers.on_attached(self._send)

    async def _load(self) -> None:
        self._saved = {action.name: action for action in await self._database.actions()}
        self._loaded = True

    async def save(self, action: Action, *, new: bool) -> bool:
        """Save an action, under a new name or in place of what has it; False where that is not so."""
        if action.name in self._configured or not await self._database.save_action(action, new=new):
            return False
        await self._reload()
        return True

    async def delete(self, name: str) -> bool:
        if not await self._database.delete_action(name):
            return False
        await self._reload()
        return True

    async def _reload(self) -> None:
        await self._load()
        for number in self._workers.up:
            self._send(number)

    def _send(self, number: int) -> None:
        task = asyncio.get_running_loop().create_task(self._tell(number))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _tell(self, number: int) -> None:
        known = [msgspec.msgpack.encode(action) for action in self._saved.values()]
        try:
            reply = await self._workers.ask(number, SavedActions(ask=0, actions=known))
        except Unanswered as error:
            self.log.warning("saved transfer actions not sent", error=str(error))
        else:
            if reply.error:
                self.log.error("saved transfer actions refused", worker=number, error=reply.error)
