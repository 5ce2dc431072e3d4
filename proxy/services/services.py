"""Everything that the services process has, as the API and the process itself get at it."""
import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from proxy.config import Config, lines_of, read_secret, reference_keys
from proxy.events import Answer, AskExtractors, Asking, AskRequests, Event, Record
from proxy.log import Log
from proxy.messages import Operate, memory_file
from proxy.policy.addresses import parse_prefix

from .access import Access, Applier
from .actions import Actions
from .conversation import Conversations
from .database import Database
from .model import Questions
from .records import Records
from .references import References
from .requests import Requests
from .speech import Voice
from .spool import Spool
from .stream import Stream
from .webhooks import Webhooks
from .workers import Sender, Workers

Reloader = Callable[[], Awaitable[tuple[int, str]]]
Operator = Callable[[Operate], Awaitable[list[dict[str, Any]]]]
"""Has the supervisor read the configuration again: the epoch that runs now, and what was wrong with the file."""


def api_tokens(config: Config) -> list[bytes]:
    """The tokens that requests may carry; none where none are configured. Raises ValueError where they cannot be
    read."""
    return lines_of(read_secret(Path(config.file).parent, config.api.token_file, config.api.token_env))


class Redeemers(NamedTuple):
    """Who may redeem context by reference, and do nothing else: by a token of the API, or from an address."""

    tokens: list[bytes]
    prefixes: list[IPv4Network | IPv6Network]


def redeemers(config: Config) -> Redeemers:
    """Raises ValueError where the tokens cannot be read."""
    table = config.reference
    return Redeemers(lines_of(read_secret(Path(config.file).parent, table.token_file, table.token_env)),
                     [parse_prefix(text) for text in table.open_to])


def keys_of(config: Config) -> list[bytes]:
    """What tokens for context by reference may be signed with. Raises ValueError where they cannot be read."""
    return reference_keys(config.reference, Path(config.file).parent)


def database_url(config: Config, folder: Path, name: str) -> str:
    """The configured one, a relative file name of SQLite's completed; by default a file beside the control socket."""
    prefix = "sqlite+aiosqlite:///"
    if not config.database.url:
        return f"{prefix}{(folder / f'sipedge-{name}.db').absolute()}"
    if config.database.url.startswith(prefix):
        return f"{prefix}{(Path(config.file).parent / config.database.url.removeprefix(prefix)).absolute()}"
    return config.database.url


class Services:
    """folder and name: where files are kept, and what they are called after. ValueError where a secret cannot be
    read; OSError where the folder cannot be used."""

    def __init__(self, config: Config, folder: Path, name: str, log: Log, reload: Reloader,
                 use_entries: Applier, operate: Operator):
        self.config = config
        self.log = log
        self.reload = reload
        self.operate = operate
        self.tokens = api_tokens(config)
        self.redeemers = redeemers(config)
        self.database = Database(database_url(config, folder, name))
        self.references = References(self.database, log, config.reference, keys_of(config))
        self.workers = Workers(config.services.reply_timeout, on_question=self._on_question, on_event=self._on_event,
                               on_record=self._on_record, on_context=self.references.add)
        self.conversations = Conversations(config.services.conversation_bytes)
        self.records = Records(Spool(folder, f"sipedge-{name}"), self.database, self.workers, log,
                               config.database.keep_days)
        self.actions = Actions(self.database, self.workers, config, log)
        self.access = Access(self.database, config, use_entries, log)
        self.webhooks = Webhooks(config, Path(config.file).parent, log)
        self.stream = Stream(self._tell_wanted)
        self._make_context(config)
        self._answering: set[asyncio.Task[None]] = set()
        self._tell_wanted()

    def _make_context(self, config: Config) -> None:
        """What answers the workers' questions. Raises ValueError, having changed nothing."""
        folder = Path(config.file).parent
        requests = Requests(config, folder)
        questions = Questions(config, self.conversations, folder)
        self.voice, self.questions, self.requests = Voice(config, questions, folder), questions, requests

    def configure(self, config: Config) -> None:
        """Follow a configuration. Raises ValueError where it cannot be followed; nothing has changed then."""
        tokens, narrow, keys = api_tokens(config), redeemers(config), keys_of(config)
        old = self.config
        if (config.model, config.speech, config.requests) != (old.model, old.speech, old.requests):
            before = (self.voice, self.questions, self.requests)
            self._make_context(config)
            self._keep(self._retire(set(self._answering), before))
        self.webhooks.configure(config, Path(config.file).parent)
        self.references.configure(config.reference, keys)
        self.tokens, self.redeemers = tokens, narrow
        self.config = config
        self.actions.configure(config)
        self.access.config = config
        self.workers.seconds = config.services.reply_timeout
        self.records.keep_days = config.database.keep_days
        self._tell_wanted()

    @staticmethod
    async def _retire(answering: set[asyncio.Task[None]], old: tuple[Voice, Questions, Requests]) -> None:
        """Close what answered questions until now, once it has answered those it has."""
        if answering:
            await asyncio.wait(answering)
        for one in old:
            await one.close()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.records.run())
            tasks.create_task(self.references.run())
            tasks.create_task(self.actions.run())
            tasks.create_task(self.access.run())

    async def finish(self) -> None:
        """After run was cancelled, and with all that the workers said taken in."""
        await self.records.finish()
        await self.references.finish()
        self.workers.close()
        await self.webhooks.close()
        for one in (self.voice, self.questions, self.requests):
            await one.close()
        await self.database.close()

    def statistics(self) -> dict[str, int]:
        """Gauges and counters for the page."""
        references = self.references
        return self.webhooks.statistics() | {
            "records_waiting": self.records.behind, "log_lost": self.log.lost, "contexts": len(references),
            "contexts_redeemed": references.redeemed, "contexts_refused": references.refused,
            "contexts_lost": references.lost}

    def _tell_wanted(self) -> None:
        self.workers.want(sorted({*self.webhooks.patterns, *self.stream.patterns}))

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    # --- what the workers say

    def _on_question(self, worker: int, question: Asking) -> None:
        self._keep(self._answer(worker, question))

    async def _answer(self, worker: int, question: Asking) -> None:
        file = -1
        try:
            if isinstance(question, AskRequests):
                answer = await self.requests.ask(question)
            elif isinstance(question, AskExtractors):
                answer = await self.questions.ask(question)
            else:
                answer, frames = await self.voice.ask(question)
                if frames:
                    file = memory_file("sipedge-sound", frames)
        except Exception as error:  # noqa: BLE001 whatever it is, the call goes on with the question's fallback
            self.log.error("question", error=f"{type(error).__name__}: {error}")
            answer = Answer(ask=question.ask, error="mistake in the services process")
        self.workers.answer(worker, answer, file)

    def _on_event(self, event: Event) -> None:
        identifier = uuid4().hex
        self.webhooks.add(event, identifier)
        self.stream.add(event, identifier)

    def _on_record(self, sender: Sender, record: Record) -> None:
        if record.call is not None:
            self.conversations.forget(record.call.id)
        self.records.add(sender, record)
