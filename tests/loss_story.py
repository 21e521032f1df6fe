"""A venue where accounts lose more than they have, told as a story to an engine that is checked and
started again after every slice."""

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

from engine import decisions as d
from engine import events as e
from engine import invariants, state
from engine.core import Engine
from engine.decisions import Decision
from engine.instruments import Perpetual
from engine.waterfall_profile import Waterfall
from tests.story import Story, WholeEngine, of

BTCUSDT = Perpetual("BTCUSDT", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6), taker_fee=D(0))
ETHUSDT = Perpetual("ETHUSDT", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6), taker_fee=D(0))
BTCUSD = Perpetual("BTCUSD", "BTC", 0, 1, D("0.1"), D(1), D(10**6), taker_fee=D(0), style="inverse")
LAYERS = d.Shortfall | d.FundDraw | d.ReserveDraw | d.LossSocialised | d.LossShared | d.BadDebt


class Restarted(WholeEngine):
    """The engine, beside one that is started again from its state after every slice."""

    def __init__(self) -> None:
        super().__init__()
        self.again = Engine(shard=0)

    def apply(self, event: e.AnyEvent) -> Sequence[Decision]:
        """Return every decision of an event, the same of both."""
        decided = list(super().apply(event))
        invariants.check(self.engine)
        same = list(self.again.apply(event))
        self._restart()
        while more := self.again.proceed():
            same += more
            self._restart()
        assert same == decided
        assert state.digest(self.again) == state.digest(self.engine)
        return decided

    def _restart(self) -> None:
        self.again = state.restore(0, state.records(self.again).items())
        invariants.check(self.again)


class LossStory(Story):
    """Tells of losses, funds, and what comes back of bad debt."""

    def __init__(self, **waterfall: Any) -> None:
        super().__init__(Restarted())
        markets = (BTCUSDT, ETHUSDT, BTCUSD)
        self.rules(*markets, rate="0.004", waterfall=Waterfall(**waterfall))
        for market in markets:
            self.price(market.name, "1000")
        self.price("BTC", "1000", "index")

    @property
    def engine(self) -> Engine:
        """The engine that the story is told to."""
        return self.machine.engine

    def fund(self, amount: str, name: str = "", asset: str = "USDT") -> Sequence[Decision]:
        """Put an amount into a fund."""
        return self.tell(e.FundMoved, shard=0, asset=asset, amount=D(amount), fund=name)

    def lose(
        self, account: str, amount: str, symbol: str = "BTCUSDT", role: str = "trader"
    ) -> Sequence[Decision]:
        """Have an account trade in a market and end with less than nothing there."""
        asset = self.engine.rules.derivatives[symbol].settle
        self.tell(e.AccountOpened, account=account, role=role)
        self.deposit(account, asset, "1000")
        self.fill(account, symbol, "1", "1000")
        left = D(1000) + D(amount)
        return self.fill(account, symbol, "-1", "1000", str(left), fee_asset=asset)

    def trader(self, account: str, money: str, size: str = "0", **fields: Any) -> None:
        """Open an account with money and a position at the mark."""
        self.tell(e.AccountOpened, account=account, role=fields.pop("role", "trader"))
        symbol = fields.pop("symbol", "BTCUSDT")
        if D(money):
            self.deposit(account, self.engine.rules.derivatives[symbol].settle, money)
        if D(size):
            self.fill(account, symbol, size, "1000", **fields)

    def treasury(self, kind: type[Any], amount: str, market: str = "BTCUSDT") -> Sequence[Decision]:
        """Recover or write off an amount of the bad debt of a market."""
        return self.tell(kind, shard=0, asset="USDT", market=market, amount=D(amount))


def layers(decided: Sequence[Decision]) -> list[tuple[str, D]]:
    """Return what was lost and who bore how much of it, in order."""
    return [(type(one).__name__, one.amount) for one in of(LAYERS, decided)]


def charges(decided: Sequence[Decision]) -> dict[str, D]:
    """Return what accounts were charged of others' losses, in order."""
    return {one.account: one.amount for one in of(d.LossCharged, decided)}
