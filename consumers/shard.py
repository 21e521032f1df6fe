"""One shard, as the group assigned it.

Starting is recovering, and an unknown outcome is a start: nothing is retried or patched up. The
transactional writer starts first and ends its predecessor; then the state is read, the inputs are
sought, what the last event left undecided is decided, and the shard goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal

import structlog
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, ProducerFenced

from consumers import recovery
from consumers.board import Board
from consumers.config import Config
from consumers.intake import Intake
from consumers.life import EngineFault, Life, UnknownOutcome
from consumers.recovery import RecoveryError
from consumers.risk_topic import RiskTopic
from producers.kafka import ShardWriter
from producers.metrics import Metrics
from producers.mqtt import Publisher
from producers.topics import Client

RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.2, 5.0

Status = Literal["starting", "restoring", "running", "retrying", "fenced", "down", "stopped"]

log = structlog.get_logger()


class Shard:
    """Run one shard until it is told to stop, is fenced, or must not go on.

    `status` and `reason` say how it is.
    """

    def __init__(
        self,
        number: int,
        config: Config,
        client: Client,
        metrics: Metrics,
        board: Board,
        publisher: Publisher | None = None,
    ) -> None:
        self.number = number
        self.status: Status = "starting"
        self.reason = ""
        self._config = config
        self._client = client
        self._metrics = metrics
        self._board = board
        self._publisher = publisher
        self._stopping = False
        self._life: Life | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def ruled(self) -> bool:
        """Whether rules are in force."""
        return self._life is not None and self._life.engine.ready

    @property
    def lag_seconds(self) -> float:
        """How long ago the oldest record that waits was written."""
        return 0.0 if self._life is None else self._life.lag_seconds

    async def run(self) -> None:
        """Recover and work, again after every unknown outcome; return when it must not go on."""
        delay = RETRY_SECONDS_MIN
        try:
            while not self._stopping:
                try:
                    await self._live()
                    break
                except ProducerFenced:
                    return self._is("fenced", "another process has started this shard")
                except (EngineFault, RecoveryError, OffsetOutOfRangeError) as error:
                    return self._is("down", str(error))
                except (KafkaError, UnknownOutcome, OSError, TimeoutError) as error:
                    delay = RETRY_SECONDS_MIN if self.status == "running" else 2 * delay
                    delay = min(delay, RETRY_SECONDS_MAX)
                    self._is("retrying", str(error) or type(error).__name__)
                await asyncio.sleep(delay)
            self._is("stopped")
        except Exception as error:
            log.exception("shard: bug", shard=self.number)
            self._is("down", f"{type(error).__name__}: {error}")
        finally:
            self._metrics.drop(self.number)
            self._board.drop(self.number)
            if self._publisher is not None:
                self._publisher.drop(self.number)

    def use(self, config: Config) -> None:
        """Go on under a configuration that differs only in what may change while this runs."""
        self._config = config
        if self._life is not None:
            self._life.use(config.shards)

    def stop(self) -> None:
        """Let `run` commit what was applied, and return."""
        self._stopping = True
        if self._life is not None:
            self._life.stop()

    async def closed(self) -> None:
        """Wait until every connection is closed."""
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _live(self) -> None:
        """Recover, and work until something happens."""
        config, topics, settings = self._config, self._config.topics, self._config.shards
        writer = ShardWriter(self._client, topics, config.group, self.number)
        intake = Intake(
            self._client,
            topics,
            fetch_wait=settings.fetch_wait,
            max_ahead=settings.max_ahead,
            shadow=config.shadow.enabled,
        )
        telling: asyncio.Task[None] | None = None
        try:
            self._is("starting")
            await writer.start()
            self._is("restoring")
            sources, positions = await recovery.sources(self._client, topics, self.number)
            engine, progress = await recovery.restore(self._client, topics, self.number, positions)
            await intake.start(sources, progress.offsets())
            risk = RiskTopic(engine, config.risk)
            onlookers = (self._metrics, self._board, risk, self._publisher)
            self._life = Life(engine, progress, intake, writer, topics, settings, *onlookers)
            if config.risk.enabled:
                telling = asyncio.create_task(risk.run(self._client, topics.account_risk))
            self._is("running")
            if not self._stopping:
                await self._life.run()
        finally:
            self._life = None
            if telling is not None:
                telling.cancel()
            # A writer that still waits for an answer ends when its successor has fenced it.
            self._close(writer.stop())
            self._close(intake.stop())

    def _is(self, status: Status, reason: str = "") -> None:
        self.status, self.reason = status, reason
        self._metrics.grant(self.number, running=status == "running")
        log.info("shard", shard=self.number, status=status, reason=reason)

    def _close(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
