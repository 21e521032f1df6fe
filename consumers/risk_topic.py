"""What one shard tells on `account-risk`: each account whose margin group changed band or state.

The whole book is screened in floats again and again, in slices that the event loop does not feel;
who seems to have changed is valued exactly, and told if so, the nearest to liquidation first. Too
many changes at once wait, and what waits is told as it is when its turn comes. What is told is
written with the shard's next commit, and read back when the shard recovers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import chain

import msgspec
import numpy as np
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from consumers import journal
from consumers.risk_config import Risk
from engine.core import Engine
from engine.ratio_screen import RatioScreen
from producers.account_risk import NOTHING, Bands, Told, drawn, told_of
from producers.topics import Client

SLICE_SECONDS = 0.001
REST = 9
"""After a slice the loop is left alone for so many times as long: a tenth of a core at most."""

LOOK_SECONDS = 0.5
"""Between two looks at the whole book."""

TELL_SECONDS = 1.0
"""After so long the book is looked at again, also while there is more to tell."""

ROWS_A_STEP = 250
SCREENED_A_STEP = 32_768
PATIENCE_SECONDS = 10.0
"""Who has waited for longer comes before who is nearer to liquidation."""

RETRY_SECONDS = 5.0

Records = dict[str, bytes | None]

log = structlog.get_logger()


class RiskTopic:
    """Looks at an engine's accounts, and says what is to be written about them."""

    def __init__(
        self, engine: Engine, settings: Risk, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._telling = settings.enabled
        self._engine = engine
        self.bands = Bands([Decimal(str(bound)) for bound in settings.bands])
        self._interval, self._rate = settings.min_interval, settings.max_per_second
        self._tokens, self._filled_at = settings.max_per_second, clock()
        self._told: dict[str, Told] = {}
        self._told_at: dict[str, float] = {}
        self._codes = np.zeros(engine.book.capacity, np.int64)
        self._touched: set[str] = set()
        self._lost: set[str] = set()
        self._since: dict[str, float] = {}
        self._records: Records = {}

    @property
    def waiting(self) -> int:
        """How many accounts seem to have changed, and are not told of yet."""
        return len(self._since)

    def touched(self, accounts: Iterable[str]) -> None:
        """Take note of accounts that events changed: their groups may have come or gone."""
        if self._telling:
            self._touched.update(accounts)

    def take(self) -> Records:
        """Return what is to be written by account, none for one that is gone; start anew."""
        records, self._records = self._records, {}
        return records

    async def run(self, client: Client, topic: str) -> None:
        """Tell until cancelled; what fails here stops nothing else."""
        try:
            await self._read_back(client, TopicPartition(topic, self._engine.shard))
            while True:
                if self._engine.ready:
                    await _paced(self.look())
                await asyncio.sleep(LOOK_SECONDS)
        except Exception:
            log.exception("account-risk: bug, nothing more is told", shard=self._engine.shard)
            self._telling = False
            self._touched.clear()

    def recall(self, account: str, record: bytes | None) -> None:
        """Take over a record that was written before."""
        self._touched.add(account)
        if record is None:
            self._told.pop(account, None)
            return
        try:
            self._told[account] = self.bands.read(record)
        except msgspec.MsgspecError:
            # Of another release: what it says is replaced.
            self._told[account] = {"": -1}

    async def _read_back(self, client: Client, partition: TopicPartition) -> None:
        """Recall what the topic holds, again until it can be read whole."""
        while True:
            self._told = {}
            try:
                async for record in journal.committed(client, partition):
                    self.recall(record.key.decode(), record.value)
                return
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("account-risk: not read back", topic=partition.topic, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def look(self) -> Iterator[None]:
        """Look at the whole book, and tell what changed as far as that may be told now; in
        steps."""
        yield from self._settle()
        screen = RatioScreen(self._engine)
        yield from screen.steps()
        if screen.stale:
            return
        changed = dict.fromkeys(sorted(self._lost), NOTHING)
        yield from self._compare(screen, changed)
        order: list[list[str]] = []
        yield from self._order(changed, order)
        yield from self._tell(chain.from_iterable(order))

    def _settle(self) -> Iterator[None]:
        """Note what is told of the rows of accounts that events changed, and who lost a group that
        is told of, or is gone: no row says so."""
        touched, self._touched = self._touched, set()
        for place, account in enumerate(touched):
            if self._note(account):
                self._lost.add(account)
            if place % ROWS_A_STEP == 0:
                yield

    def _note(self, name: str) -> bool:
        """Note what is told of an account's rows; return whether more is told than there is."""
        account = self._engine.accounts.get(name)
        if account is None:
            return name in self._told
        told = self._told.get(name, {})
        self._make_room(self._engine.book.capacity)
        for group in account.groups.values():
            self._codes[group.row] = told.get(group.margin, 0)
        return not told.keys() <= account.groups.keys()

    def _compare(self, screen: RatioScreen, changed: dict[str, int]) -> Iterator[None]:
        """Add the accounts whose rows do not seem to be as is told, with the place of the lowest
        band."""
        size = len(screen.equity)
        self._make_room(size)
        for begin in range(0, size, SCREENED_A_STEP):
            part = slice(begin, min(begin + SCREENED_A_STEP, size))
            bands, codes = self.bands.screened(screen, part)
            found = np.flatnonzero(codes != self._codes[part])
            yield
            yield from self._name((found + begin).tolist(), bands[found].tolist(), changed)

    def _name(self, rows: list[int], bands: list[int], changed: dict[str, int]) -> Iterator[None]:
        """Add the accounts of rows, each with the place of its lowest band."""
        groups = self._engine.book.groups
        for place, (row, band) in enumerate(zip(rows, bands, strict=True)):
            group = groups[row] if row < len(groups) else None
            if group is not None:
                name = group.account.id
                changed[name] = min(changed.get(name, band), band)
            if place % ROWS_A_STEP == 0:
                yield

    def _make_room(self, size: int) -> None:
        if len(self._codes) < size:
            room = np.zeros(size - len(self._codes), np.int64)
            self._codes = np.concatenate([self._codes, room])

    def _order(self, changed: dict[str, int], order: list[list[str]]) -> Iterator[None]:
        """Put accounts in the order in which they are told of: those who waited for long, then
        band by band; takes note of since when each waits."""
        now, since = self._clock(), {}
        patient: list[str] = []
        by_band: dict[int, list[str]] = {}
        for place, (name, band) in enumerate(changed.items()):
            since[name] = self._since.get(name, now)
            waited = now - since[name] >= PATIENCE_SECONDS
            (patient if waited else by_band.setdefault(band, [])).append(name)
            if place % ROWS_A_STEP == 0:
                yield
        self._since = since
        order += [patient, *(names for _, names in sorted(by_band.items()))]

    def _tell(self, order: Iterable[str]) -> Iterator[None]:
        """Tell of accounts in this order, as far as that may be now."""
        began = self._clock()
        self._told_at = {
            account: at for account, at in self._told_at.items() if began < at + self._interval
        }
        for name in order:
            # Who comes first is another one before long.
            if not self._may_tell() or self._clock() > began + TELL_SECONDS:
                return
            if name in self._told_at:
                continue
            yield from self._tell_of(name)
            yield

    def _tell_of(self, name: str) -> Iterator[None]:
        """Tell of one account, if there is anything to tell."""
        account, known = self._engine.accounts.get(name), self._told.get(name, {})
        if account is None:
            if self._told.pop(name, None) is not None:
                self._write(name, None)
        elif told_of(self._engine, account, self.bands) != known:
            record, told = yield from drawn(self._engine, account, self.bands)
            if not record:
                # Gone meanwhile: events that are still to be noted say so.
                return
            if told != known:
                self._told[name] = told
                self._write(name, record)
        self._note(name)
        self._lost.discard(name)
        self._since.pop(name, None)

    def _write(self, name: str, record: bytes | None) -> None:
        self._records[name] = record
        self._told_at[name] = self._clock()
        self._tokens -= 1.0

    def _may_tell(self) -> bool:
        """Tell whether the shard has not told too much lately: a second's worth at once."""
        now = self._clock()
        earned = (now - self._filled_at) * self._rate
        self._tokens = min(self._tokens + earned, max(1.0, self._rate))
        self._filled_at = now
        return self._tokens >= 1.0


async def _paced(steps: Iterator[None]) -> None:
    """Take steps a slice at a time, and rest between slices."""
    began = time.monotonic()
    for _ in steps:
        spent = time.monotonic() - began
        if spent >= SLICE_SECONDS:
            await asyncio.sleep(REST * spent)
            began = time.monotonic()
