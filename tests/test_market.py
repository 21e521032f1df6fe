"""The demo's world: bars, people, and a venue that answers."""

from collections import Counter, defaultdict
from decimal import Decimal as D
from importlib.resources import files
from itertools import pairwise
from random import Random

import pytest
from aiokafka.partitioner import DefaultPartitioner

from consumers import bars, market, population
from consumers.exchange import Exchange
from consumers.feed import Clock, shard_of
from consumers.fitting import Terms, initial_margin
from consumers.market import DEPTH, Scene, Stall, World
from engine import instruments, profile_faults
from engine.decisions import (
    CancelOpenOrders,
    CancelOrder,
    CollateralSale,
    LiquidationOrder,
)
from engine.events import (
    AccountEvent,
    AccountOpened,
    CollateralSold,
    Deposit,
    Fill,
    FundMoved,
    InstrumentListed,
    OrderClosed,
    OrdersCancelled,
    PriceUpdate,
    ProfileChanged,
)
from engine.venue import Conditions

SMALL = Scene(accounts=300, symbols=4, start_minute=770, end_minute=775)
SYMBOLS = [perpetual.name for perpetual in market.venue_rules().perpetuals]


@pytest.fixture(scope="module")
def small_day():
    """Every record of a small world that nobody liquidates in."""
    world = World(SMALL)
    return world, [record for records in world.play() for record in records]


# --- bars


def test_the_samples_are_whole_and_small():
    folder = files("deploy").joinpath(bars.FOLDER, "2021-05-19")
    packed = {item.name: len(item.read_bytes()) for item in folder.iterdir()}
    assert sorted(packed) == sorted(f"{symbol}.csv.zst" for symbol in SYMBOLS)
    assert sum(packed.values()) < 1_000_000
    assert all(len(bars.load(symbol).bars) == 2 * bars.MINUTES for symbol in SYMBOLS)


@pytest.mark.parametrize(
    ("symbol", "low"), [("BTCUSDT", 30_000), ("ETHUSDT", 1_888), ("DOGEUSDT", 0.21111)]
)
def test_the_day_is_the_one_that_was(symbol, low):
    day = bars.load(symbol).bars[bars.MINUTES :]
    assert min(bar.low for bar in day) == low
    assert bars.load("BTCUSDT").of_day(13 * 60 + 10).low == 30_000


def test_depth_is_a_share_of_the_volume_of_the_day_before():
    volume = bars.load("BTCUSDT").volume_before()
    assert round(DEPTH["thin"] * volume / 1e6) == 15
    assert round(DEPTH["deep"] * volume / 1e6) == 51


def test_a_book_is_as_deep_as_usual_in_a_quiet_market_and_a_fifth_of_it_in_the_crash():
    calm = bars.load("BTCUSDT").calm()
    assert len(calm) == bars.MINUTES
    assert min(calm) == 0.2
    assert max(calm) == 1.0
    assert calm[13 * 60 + 10] == 0.2


@pytest.mark.parametrize(
    ("bar", "turns"),
    [
        pytest.param(bars.Bar(100, 102, 99, 101, 1), (99, 102), id="rising: low first"),
        pytest.param(bars.Bar(101, 102, 99, 100, 1), (102, 99), id="falling: high first"),
        pytest.param(bars.Bar(100, 168, 99, 101, 1), (99, 101 * 1.03), id="high wick is cut"),
        pytest.param(bars.Bar(100, 101, 50, 100, 1), (97, 101), id="low wick is cut"),
    ],
)
def test_a_path_turns_where_the_bar_did(bar, turns):
    many = bars.path(bar, 10_000)
    assert many[-1] == bar.close
    first, second = sorted(turns, key=turns.index)
    nearest = [min(range(10_000), key=lambda at, p=price: abs(many[at] - p)) for price in turns]
    assert nearest[0] < nearest[1]
    assert many[nearest[0]] == pytest.approx(first, rel=1e-4)
    assert many[nearest[1]] == pytest.approx(second, rel=1e-4)
    steps = [abs(after / before - 1) for before, after in pairwise(many)]
    assert max(steps) == pytest.approx(sorted(steps)[5_000], rel=0.01)


def test_a_bar_that_does_not_move_gives_a_path_that_stands():
    assert bars.path(bars.Bar(5, 5, 5, 5, 0), 12) == pytest.approx([5] * 12)


# --- rules


def test_the_rules_have_no_fault():
    found = market.venue_rules()
    assert profile_faults.faults(found.profile) == []
    assert [instruments.faults(item) for item in (*found.assets, *found.perpetuals)] == [[]] * 23


def test_every_lot_at_every_tick_is_a_whole_number_of_units():
    for perpetual in market.venue_rules().perpetuals:
        assert perpetual.lot * perpetual.tick >= D("1e-8")


# --- people


def terms(profile: str | None = None) -> Terms:
    """Return what the day's venue asks of its people, by its own profile or another."""
    rules = market.venue_rules(profile)
    opens = {item.name: bars.load(item.name).of_day(0).open for item in rules.perpetuals}
    return Terms(rules, opens)


GROSS_PER_TRADER = 2.6e9 / 19_600


def tastes(shares: dict[str, float]) -> population.Tastes:
    """Return what people like who trade these shares."""
    return population.Tastes(shares, {"BTC": 0.6, "ETH": 0.4}, GROSS_PER_TRADER)


@pytest.fixture(scope="module")
def people():
    shares = {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "XRPUSDT": 0.2}
    return population.traders(Random(7), 4_000, tastes(shares), terms())


def test_the_population_is_as_described(people):
    def share(test):
        return sum(test(trader) for trader in people) / len(people)

    assert share(lambda trader: trader.long) == pytest.approx(0.76, abs=0.03)
    assert share(lambda trader: trader.at_once) == pytest.approx(0.30, abs=0.03)
    assert share(lambda trader: len(trader.equity) == 2) == pytest.approx(0.30, abs=0.03)
    assert share(lambda trader: "BTC" in trader.equity) == pytest.approx(0.18, abs=0.03)
    legs = [leg for trader in people for leg in trader.legs.values()]
    assert sum(abs(leg) for leg in legs) == pytest.approx(len(people) * GROSS_PER_TRADER, rel=0.01)
    ways = [(leg > 0) == trader.long for trader in people for leg in trader.legs.values()]
    assert sum(ways) / len(ways) == pytest.approx(0.85, abs=0.02)


def test_nobody_opens_with_less_than_the_brackets_want(people):
    rules = market.venue_rules().profile
    for trader in people:
        margin_equity = sum(
            value * (1 - float(rules.collateral_of(asset).haircut))
            for asset, value in trader.equity.items()
        )
        initial = sum(
            initial_margin(abs(leg), rules.requirements[symbol].brackets)
            for symbol, leg in trader.legs.items()
        )
        assert margin_equity >= population.OPENING_MARGIN * initial * (1 - 1e-9)


def test_initial_margin_is_marginal():
    brackets = market.venue_rules().profile.requirements["BTCUSDT"].brackets
    assert initial_margin(50_000, brackets) == pytest.approx(400)
    assert initial_margin(250_000, brackets) == pytest.approx(400 + 2_000)
    assert initial_margin(1e9, brackets) > initial_margin(5e8, brackets)


def test_hedgers_carry_the_open_interest_at_half_to_twice_their_equity():
    shares = {"BTCUSDT": 0.9, "BATUSDT": 0.1}
    capacity = {"BTCUSDT": 9e6, "BATUSDT": 1e6}
    found = population.hedgers(Random(1), 50, tastes(shares), capacity, terms())
    numbers = Counter(hedger.symbol for hedger in found)
    assert numbers == {"BTCUSDT": 45, "BATUSDT": 5}
    for hedger in found:
        part = {"BTCUSDT": 9e6, "BATUSDT": 1e6}[hedger.symbol] / numbers[hedger.symbol]
        assert 0.5 <= part / hedger.equity <= 2.0
        assert hedger.asset in ("BTC", "ETH")


def test_a_desk_gives_a_trade_to_whom_it_is_most_welcome_and_cuts_large_ones():
    members = [population.Hedger(f"h{n}", "BTCUSDT", "BTC", 1.0) for n in range(3)]
    desk = population.Desk(members, {"BTCUSDT": 3_000.0})
    deal = desk.deal
    assert deal("BTCUSDT", D(2), 500, D(1), "") == [("h0", D(-2))]
    assert deal("BTCUSDT", D(3), 900, D(1), "") == [("h1", D(-3))]
    # The shortest buys what is sold next, never from itself.
    assert deal("BTCUSDT", D(-1), 500, D(1), "") == [("h1", D(1))]
    assert deal("BTCUSDT", D(-1), 500, D(1), "h0")[0][0] == "h1"
    large = deal("BTCUSDT", D(7), 2_500, D(1), "")
    assert [part for _, part in large] == [D(-3), D(-2), D(-2)]
    assert sum(part for _, part in deal("BTCUSDT", D("-2"), 9e9, D(1), "")) == 2


# --- the world


def test_each_record_has_its_own_microsecond_and_each_sequence_grows_by_one(small_day):
    _, records = small_day
    times = [event.time for _, event in records]
    assert times == sorted(set(times))
    last: dict[object, int] = defaultdict(int)
    for _, event in records:
        if isinstance(event, AccountEvent):
            key: object = event.account
        elif isinstance(event, PriceUpdate):
            key = (event.source, event.symbol)
        else:
            continue
        assert event.sequence == last[key] + 1
        last[key] = event.sequence


def test_rules_come_first_then_prices_then_accounts(small_day):
    _, records = small_day
    kinds = [type(event) for _, event in records]
    rules = [ProfileChanged, *[InstrumentListed] * 7, FundMoved]
    assert kinds[: len(rules)] == rules
    listed = [event.instrument for _, event in records if isinstance(event, InstrumentListed)]
    assert [isinstance(item, instruments.Asset) for item in listed] == [True] * 3 + [False] * 4
    prices = kinds[len(rules) : len(rules) + 6]
    assert prices == [PriceUpdate] * 6
    assert kinds[len(rules) + 6 : len(rules) + 8] == [Deposit, AccountOpened]
    seen: set[str] = set()
    for _, event in records:
        if isinstance(event, AccountEvent) and event.account not in seen:
            assert isinstance(event, Deposit)
            seen.add(event.account)


def test_every_position_has_its_other_side_and_every_symbol_its_ticks(small_day):
    world, records = small_day
    sizes: dict[str, D] = defaultdict(D)
    ticks = Counter()
    for _, event in records:
        if isinstance(event, Fill):
            sizes[event.symbol] += event.size
        elif isinstance(event, PriceUpdate) and event.kind == "mark":
            ticks[event.symbol] += 1
    assert set(sizes.values()) == {D(0)}
    assert ticks == dict.fromkeys(SYMBOLS[:4], 1 + 5 * 12)
    assert world.slots == 1 + 4 * 5 * 12


def test_trades_of_the_openings_are_at_the_mark_of_that_moment(small_day):
    _, records = small_day
    marks: dict[str, D] = {}
    for _, event in records:
        if isinstance(event, PriceUpdate):
            marks[event.symbol] = event.price
        elif isinstance(event, Fill):
            assert event.price == marks[event.symbol]


def test_the_same_seed_gives_the_same_day_and_another_seed_another(small_day):
    _, records = small_day
    again = [record for records in World(SMALL).play() for record in records]
    assert again == records
    other = World(Scene(seed=2, accounts=300, symbols=4, start_minute=770, end_minute=775))
    assert [record for records in other.play() for record in records] != records


def test_shards_are_the_partitions_of_kafkas_client_and_share_one_fund():
    partition = DefaultPartitioner()
    for number in range(200):
        key = f"trader-{number:05d}"
        assert shard_of(key, 4) == partition(key.encode(), [0, 1, 2, 3], [0, 1, 2, 3])
    scene = Scene(accounts=300, symbols=2, start_minute=0, end_minute=1, shards=4)
    world = World(scene)
    records = [record for records in world.play() for record in records]
    funds = [event for _, event in records if isinstance(event, FundMoved)]
    assert [fund.shard for fund in funds] == [0, 1, 2, 3]
    assert sum(fund.amount for fund in funds) == 1_000_000 * 300 / D(20_000)
    for shard, event in records:
        account = isinstance(event, AccountEvent)
        assert shard == (shard_of(event.account, 4) if account else None)


# --- the venue's answers


MARK = Conditions(mark=D(40_000), depth=1e6, time=0)


class Venue:
    """An exchange with one trader who is long, and a clock."""

    def __init__(self) -> None:
        rules = market.venue_rules()
        members = [population.Hedger(f"h{n}", "BTCUSDT", "BTC", 1e6) for n in range(3)]
        desk = population.Desk(members, {"BTCUSDT": 3e6})
        self.clock = Clock(1_000)
        self.exchange = Exchange(rules.assets, rules.perpetuals, desk, self.clock)
        trader = population.Trader(
            "long", True, True, {"USDT": 1e5, "BTC": 1e5}, {"BTCUSDT": 4e5}, False
        )
        self.opening = self.exchange.open_trader(trader, {"BTCUSDT": D(40_000)})

    def order(self, name: str, size: str = "10", limit: str = "39000", side="sell"):
        """Hear an order of the engine."""
        self.exchange.hear(
            LiquidationOrder(
                shard=0,
                seq=1,
                index=0,
                time=self.clock.time,
                account="long",
                margin="cross",
                order_id=name,
                number=1,
                symbol="BTCUSDT",
                side=side,
                size=D(size),
                limit_price=D(limit),
                bankruptcy_price=None,
                stage="limit",
                reason="breach",
                expires=0,
                replaces="",
                decided_mark=D(40_000),
            )
        )

    def cancel(self, name: str) -> None:
        """Hear a cancellation."""
        self.exchange.hear(
            CancelOrder(
                shard=0,
                seq=1,
                index=0,
                time=self.clock.time,
                account="long",
                margin="cross",
                order_id=name,
                reason="expired",
            )
        )

    def session(self, **changes):
        """Return what a session of the market brings for the trader."""
        events = self.exchange.session("BTCUSDT", MARK._replace(time=self.clock.time, **changes))
        return [event for event in events if event.account == "long"]


@pytest.fixture
def venue():
    return Venue()


def test_an_opening_is_deposits_and_trades_with_a_fee(venue):
    trader = [event for event in venue.opening if event.account == "long"]
    assert [type(event) for event in trader] == [Deposit, Deposit, Fill]
    assert trader[1] == Deposit(
        account="long", sequence=2, time=trader[1].time, asset="BTC", amount=D("2.5")
    )
    assert (trader[2].size, trader[2].fee, trader[2].order_id) == (D(10), D(200), "")


def test_an_order_is_answered_in_the_next_session_by_a_fill(venue):
    venue.order("a")
    asked = venue.clock.time
    (fill,) = venue.session()
    assert fill.time > asked
    assert fill.order_id == "a"
    assert fill.size == D(-10)
    # 400,000 at 1,000,000 a percent: 0.4 %, and half of it is paid.
    assert fill.price == D("39920.00")
    assert fill.fee == D("199.6")
    assert venue.exchange.positions["long", "cross", "BTCUSDT"] == 0
    assert venue.session() == []


def test_an_order_fills_in_part_to_its_limit_and_closes_when_cancelled(venue):
    venue.order("a", limit="39920")
    (part,) = venue.session()
    assert part.size == D(-5)
    assert part.price >= D(39920)
    venue.cancel("a")
    (closed,) = venue.session()
    assert isinstance(closed, OrderClosed)
    assert (closed.order_id, closed.filled_size) == ("a", D(5))


def test_a_cancellation_that_comes_too_late_is_not_answered(venue):
    venue.order("a")
    venue.session()
    venue.cancel("a")
    assert venue.session() == []


@pytest.mark.parametrize(
    ("size", "side", "filled"),
    [
        pytest.param("12", "sell", "10", id="more than is open"),
        pytest.param("5", "buy", "0", id="the wrong way"),
    ],
)
def test_the_venue_only_reduces(venue, size, side, filled):
    venue.order("a", size=size, side=side, limit="39000" if side == "sell" else "41000")
    assert sum(abs(event.size) for event in venue.session() if isinstance(event, Fill)) == D(filled)
    assert abs(venue.exchange.positions["long", "cross", "BTCUSDT"]) == 10 - D(filled)


def test_two_orders_for_one_position_do_not_turn_it(venue):
    venue.order("a", limit="39920")
    venue.order("b")
    events = venue.session()
    # What is open when the second comes is what the first still works for.
    assert [(type(event), event.order_id) for event in events] == [(Fill, "a"), (OrderClosed, "b")]
    (rest,) = venue.session(mark=D(41_000))
    assert (rest.order_id, rest.size) == ("a", D(-5))
    assert venue.exchange.positions["long", "cross", "BTCUSDT"] == 0


def sale(order_id: str, asset: str, amount: str, *, for_asset: str, limit: D) -> CollateralSale:
    return CollateralSale(
        shard=0,
        seq=1,
        index=0,
        time=0,
        account="long",
        margin="cross",
        order_id=order_id,
        number=1,
        asset=asset,
        amount=D(amount),
        for_asset=for_asset,
        limit_price=limit,
        expires=0,
        replaces="",
    )


def test_collateral_is_sold_in_the_market_of_its_coin(venue):
    venue.exchange.hear(sale("s", "BTC", "2.50000001", for_asset="USDT", limit=D(38_000)))
    (sold,) = venue.session()
    assert isinstance(sold, CollateralSold)
    assert (sold.order_id, sold.amount) == ("s", D("2.50000001"))
    price = sold.proceeds / sold.amount
    assert D(39_979) < price < D(39_981)


def test_a_coin_that_is_owed_is_bought_where_it_trades(venue):
    venue.exchange.hear(sale("b", "USDT", "3690.45569014", for_asset="BTC", limit=D("0.000024")))
    sold, closed = venue.session()
    assert isinstance(sold, CollateralSold)
    assert (sold.asset, sold.for_asset, sold.proceeds) == ("USDT", "BTC", D("0.08857093"))
    assert D(39_999) < sold.amount / sold.proceeds < D(40_001)
    assert isinstance(closed, OrderClosed)
    assert closed.filled_size == sold.amount < D("3690.45569014")


def test_own_orders_are_cancelled_when_asked(venue):
    venue.exchange.hear(
        CancelOpenOrders(shard=0, seq=1, index=0, time=0, account="long", margin="cross", number=1)
    )
    (answer,) = venue.exchange.cancelled()
    assert isinstance(answer, OrdersCancelled)
    assert venue.exchange.cancelled() == []


def test_a_market_that_hangs_answers_when_it_is_back():
    stall = Stall(symbol="BTCUSDT", minute=770, seconds=30)
    scene = Scene(accounts=300, symbols=2, start_minute=770, end_minute=771, stall=stall)
    world = World(scene)
    days = world.play()
    next(days)
    (account, _, _), size = next(
        (key, size)
        for key, size in world.exchange.positions.items()
        if key[2] == "BTCUSDT" and size > 0 and key[0].startswith("trader")
    )
    world.hear(
        LiquidationOrder(
            shard=0,
            seq=1,
            index=0,
            time=world.clock.time,
            account=account,
            margin="cross",
            order_id="a",
            number=1,
            symbol="BTCUSDT",
            side="sell",
            size=size,
            limit_price=D(1),
            bankruptcy_price=None,
            stage="limit",
            reason="breach",
            expires=0,
            replaces="",
            decided_mark=D(1),
        )
    )
    begin = world.clock.time
    fills = [
        event
        for records in days
        for _, event in records
        if isinstance(event, Fill) and event.order_id == "a"
    ]
    assert fills[0].time - begin >= 30_000_000 - 1_000_000
