"""Find an order in an event log and tell its liquidation: evidence, arithmetic, course, losses."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from tqdm import tqdm

from consumers.replay import Replay
from consumers.story import LiquidationStory, id_of
from engine.core import Engine
from engine.decisions import (
    AuctionStarted,
    CollateralLiquidation,
    CollateralSale,
    Decision,
)
from engine.events import Event
from producers import arithmetic, explanation, report
from producers.explanation import Ask, Explanation
from producers.order_size import Transfer


class NotFound(LookupError):
    """There is no such order."""


class Story(LiquidationStory):
    """What one order was decided on, and the whole course of its liquidation.

    To be told besides of every event before an engine applies it.
    """

    def __init__(self, order_id: str) -> None:
        parts = order_id.split(":")
        if len(parts) != 4 or not parts[1].isdecimal():
            raise NotFound(f"explain: {order_id} is not account:number:attempt:symbol")
        super().__init__(parts[0], int(parts[1]))
        self.order_id = order_id
        self.order: Ask | None = None
        self.arithmetic: dict[str, Any] | None = None
        self._before: list[dict[str, Any]] = []

    def before(self, engine: Engine, event: Event) -> None:
        """Keep what timers that fire before the event itself would decide on."""
        account = engine.accounts.get(self.account)
        self._before = []
        if account is not None and self.order is None and engine.ready:
            groups = account.ordered_groups()
            if account.gap_since is not None or any(group.liquidation for group in groups):
                self._before = self._arithmetic(engine)

    def after(self, engine: Engine, event: Event, decisions: Sequence[Decision]) -> None:
        """Take over what concerns the liquidation, and what its order was decided on."""
        super().after(engine, event, decisions)
        for decision in decisions:
            if isinstance(decision, Ask) and id_of(decision) == self.order_id:
                self.order = decision
                self.arithmetic = self._fitting(decision, engine)

    def _arithmetic(self, engine: Engine) -> list[dict[str, Any]]:
        groups = engine.accounts[self.account].ordered_groups()
        found = (arithmetic.of_group(engine, group) for group in groups)
        return [of_group for of_group in found if of_group is not None]

    def _fitting(self, order: Ask, engine: Engine) -> dict[str, Any] | None:
        """Return what the order was decided on: after the event, or before it, when a timer did."""
        fits: Any = arithmetic.fits_order
        if isinstance(order, Transfer):
            fits = arithmetic.fits_transfer
        elif isinstance(order, CollateralSale):
            fits = arithmetic.fits_sale
        elif isinstance(order, CollateralLiquidation | AuctionStarted):
            fits = arithmetic.fits_seizure
        candidates = self._arithmetic(engine) + self._before
        return next((found for found in candidates if fits(found, order)), None)


def from_log(order_id: str, path: str | Path) -> Explanation:
    """Return the explanation of an order from a log.

    Raises `NotFound` when the log has no such order, and what `Replay.run` does.
    """
    story = Story(order_id)
    replay = Replay(
        before=story.before,
        on_decisions=story.after,
        on_fault=lambda fault: tqdm.write(str(fault), file=sys.stderr),
    )
    replay.run(path)
    if story.order is None or story.started is None:
        raise NotFound(f"explain: no order {order_id}")
    return Explanation(story.order, story.started, story.arithmetic, story.course, story.waits)


async def from_journal(order_id: str, config_file: Path) -> Explanation:
    """Return the explanation of an order from the daemon's journal.

    Raises `NotFound` when the journal has no such order, `TopicMissing`, `KafkaError`.
    """
    from consumers import config, export

    with TemporaryDirectory(prefix="liquidator-") as directory:
        log = Path(directory) / "journal.jsonl.zst"
        await export.write(config.read(config_file), str(log))
        return from_log(order_id, log)


def show(told: Explanation, *, as_json: bool) -> None:
    """Print an explanation."""
    if as_json:
        click.echo(report.to_json(explanation.data(told)))
    else:
        explanation.show(report.console(), told)
