"""Who pays for what is lost, whatever the rules and whatever happened before: the layers in their
order, each as much as it can, nobody more than it has, and nothing from nowhere."""

from collections.abc import Iterator, Sequence
from decimal import Decimal as D
from decimal import localcontext
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from engine import decisions as d
from engine import events as e
from engine import funds, sessions
from engine.bad_debt import outstanding, standings
from engine.money import EXACT, floor_to
from engine.waterfall_profile import FundRule
from tests.examples import EXAMPLES
from tests.loss_story import LAYERS, LossStory
from tests.story import of

UNIT = D("0.00000001")
ACCOUNTS = ("ann", "bob", "cid", "dan")
MARKETS = ("BTCUSDT", "ETHUSDT", "BTCUSD")
NAMES = ("", "BTCUSDT", "BTCUSD", "majors")


class Act(NamedTuple):
    """One thing that happens: who or what by `place`, where by `market`, how much by `size`."""

    kind: str
    place: int
    market: int
    size: int


def sound(rule: FundRule) -> FundRule:
    """Return a rule without what a profile must not give."""
    groups = rule.groups if rule.by == "group" else {}
    return FundRule(rule.by, groups, rule.then_venue and rule.by != "venue", rule.caps, rule.whole)


RULES = st.fixed_dictionaries(
    {
        "fund": st.builds(
            FundRule,
            by=st.sampled_from(("venue", "market", "group")),
            groups=st.just({"BTCUSDT": "majors", "ETHUSDT": "majors"}),
            then_venue=st.booleans(),
            caps=st.sampled_from(({}, {"BTCUSDT": D(90)}, {"BTCUSD": D("0.5")})),
            whole=st.booleans(),
        ).map(sound),
        "socialised": st.sampled_from(("", "open_interest", "winners")),
        "gate": st.booleans(),
    }
)
KINDS = ("trade", "price", "fund", "session", "recover", "write_off", "withdraw", *["lose"] * 5)
ACTS = st.lists(
    st.builds(
        Act, st.sampled_from(KINDS), st.integers(0, 3), st.integers(0, 2), st.integers(1, 999)
    ),
    min_size=4,
    max_size=14,
)


class Day:
    """Has acts happen, and checks every loss against what was there before it."""

    def __init__(self, **waterfall: object) -> None:
        self.story = LossStory(**waterfall)
        for number, account in enumerate(ACCOUNTS):
            for asset, amount in (("USDT", "60"), ("BTC", "0.06")):
                self.story.deposit(account, asset, amount)
            sign = "-" if number % 2 else ""
            for market in MARKETS:
                self.story.fill(account, market, f"{sign}{number + 1}", f"{1000 - 3 * number}")
        for name in NAMES:
            self.story.fund("20", name)
            self.story.fund("0.02", name, "BTC")
        self.losers = 0

    def play(self, acts: Sequence[Act]) -> None:
        for act in acts:
            getattr(self, f"_{act.kind}")(act)

    def _trade(self, act: Act) -> None:
        size = act.size % 7 - 3 or 1
        self.story.fill(
            ACCOUNTS[act.place], MARKETS[act.market], str(size), str(990 + act.size % 20)
        )

    def _price(self, act: Act) -> None:
        self.story.price(MARKETS[act.market], str(990 + act.size % 20))

    def _fund(self, act: Act) -> None:
        asset = "BTC" if act.market == 2 else "USDT"
        amount = D(act.size) / (1000 if asset == "BTC" else 10)
        self.story.fund(str(amount), NAMES[act.place], asset)

    def _session(self, act: Act) -> None:
        self.story.tell(e.SessionClosed)

    def _recover(self, act: Act) -> None:
        self._come_back(e.Recovered, act)

    def _write_off(self, act: Act) -> None:
        self._come_back(e.WrittenOff, act)

    def _come_back(self, kind: type[e.Event], act: Act) -> None:
        """Tell of a tenth of a unit: more, or less, than is outstanding."""
        asset, market = "BTC" if act.market == 2 else "USDT", MARKETS[act.market]
        ledger, amount = self.story.engine.ledger, D(act.size) / 10
        before = outstanding(ledger, (asset, market))
        about = {"asset": asset, "market": market, "amount": amount}
        refused = of(d.Refused, self.story.tell(kind, shard=0, **about))
        assert bool(refused) == (amount > before)
        assert outstanding(ledger, (asset, market)) == before - (0 if refused else amount)

    def _withdraw(self, act: Act) -> None:
        account = ACCOUNTS[act.place]
        closed = "USDT" in self.story.engine.gates.closed
        told = {"account": account, "asset": "USDT", "amount": D(act.size % 5 + 1)}
        anomalies = of(d.Anomaly, self.story.tell(e.Withdrawal, **told))
        assert [one.kind for one in anomalies] == (["gated"] if closed else [])

    def _lose(self, act: Act) -> None:
        market = MARKETS[act.market]
        asset = self.story.engine.rules.derivatives[market].settle
        amount = floor_to(D(act.size), UNIT, D(5000 if asset == "BTC" else 7))
        self.losers += 1
        before = Before(self.story, asset, market)
        decided = self.story.lose(f"loser{self.losers}", str(amount), market)
        before.check(self.story, decided)

    def reconcile(self) -> None:
        """Check that what is outstanding, recovered and written off is what was lost."""
        for standing in standings(self.story.engine.ledger, {}).values():
            assert standing.total == (
                standing.outstanding + standing.recovered + standing.written_off
            )


class Before:
    """What could be paid of a loss in a market, worked out anew from what stood before it."""

    def __init__(self, story: LossStory, asset: str, market: str) -> None:
        engine, self.asset, self.market = story.engine, asset, market
        self.rule = engine.rules.in_force.waterfall
        self.unit = engine.rules.assets[asset].unit
        with localcontext(EXACT):
            self.funds = {name: funds.held(engine.ledger, asset, name) for name in (*NAMES, market)}
            self.paid = engine.ledger.paid_by_fund.get((asset, market), D(0))
            self.able = dict(self._able(story))

    def _able(self, story: LossStory) -> Iterator[tuple[str, D]]:
        engine = story.engine
        price = D(1000) if self.asset == "BTC" else D(1)
        for account in ACCOUNTS:
            group = engine.group_of(account, "cross")
            state = engine.health_of(group)
            if state is None:
                continue
            able = floor_to(state.equity, self.unit, price)
            if self.rule.socialised == "winners":
                able = min(able, floor_to(sessions.result(engine, group, self.asset), self.unit))
            elif self.market not in group.symbols:
                continue
            yield account, max(able, D(0))

    def check(self, story: LossStory, decided: Sequence[d.Decision]) -> None:
        with localcontext(EXACT):
            self._layers(decided)
            self._charges(story, decided)

    def _layers(self, decided: Sequence[d.Decision]) -> None:
        """Check that each layer paid what it could, and none below it started before."""
        lost, *borne = [one for one in of(LAYERS, decided) if one.market == self.market][:6]
        left = lost.amount
        expected = []
        for name, capacity in self._capacities(left):
            paid = min(left, capacity)
            left -= paid
            if paid:
                expected.append((name, paid, capacity))
        if left:
            expected.append(("nobody", left, left))
        names = {d.FundDraw: "fund", d.LossShared: "others", d.BadDebt: "nobody"}
        found = [
            (
                names[type(one)] + (f" {one.fund}" if isinstance(one, d.FundDraw) else ""),
                one.amount,
                getattr(one, "capacity", one.amount),
            )
            for one in borne
        ]
        assert found[: len(expected)] == expected

    def _capacities(self, amount: D) -> Iterator[tuple[str, D]]:
        rule = self.rule.fund
        own = {"market": self.market, "venue": ""}.get(rule.by, rule.groups.get(self.market, ""))
        room = rule.caps.get(self.market, D(10) ** 9) - self.paid
        for name in (own, "") if own and rule.then_venue else (own,):
            held = min(self.funds[name], room)
            capacity = held if held >= amount or not rule.whole else D(0)
            room -= capacity
            yield f"fund {name}", capacity
        if self.rule.socialised:
            yield "others", sum(self.able.values(), D(0))

    def _charges(self, story: LossStory, decided: Sequence[d.Decision]) -> None:
        """Check that nobody was charged more than it could bear, and all together no more than
        rounding makes of what was shared."""
        shared = of(d.LossShared, decided)
        charged = of(d.LossCharged, decided)
        assert sum((one.amount for one in charged), D(0)) == sum(
            (one.amount + one.excess for one in shared), D(0)
        )
        for one in shared[:1]:
            mine = [charge for charge in charged if charge.market == one.market]
            assert 0 <= one.excess < self.unit * len(mine)
        for one in charged:
            assert 0 < one.amount <= self.able[one.account]
            state = story.engine.health_of(story.engine.group_of(one.account, one.margin))
            assert state is not None
            assert state.equity >= 0


@settings(max_examples=2 * EXAMPLES.max_examples)
@given(RULES, ACTS)
def test_losses_are_paid_in_order_and_to_the_unit(
    rules: dict[str, object], acts: list[Act]
) -> None:
    """Every event besides checks that value is conserved, and that a restart changes nothing."""
    day = Day(**rules)
    day.play(acts)
    day.reconcile()
