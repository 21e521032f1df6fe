"""The simulated venue: impact, recovery, limits."""

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.venue import Conditions, SimulatedMarket, Trade, Working

MINUTE = 60_000_000
# 1,000 of notional move the price by 1 %: ten pieces at a mark of 100.
CALM = Conditions(mark=D(100), depth=1000.0, time=0)


def order(size: str, limit: str, name: str = "o", lot: str = "1") -> Working:
    return Working(name, D(size), D(limit), D(lot))


def market() -> SimulatedMarket:
    return SimulatedMarket(price_decimals=2)


@pytest.mark.parametrize(
    ("size", "limit", "traded", "price", "displaced"),
    [
        pytest.param("-10", "90", "-10", "99.50", -0.01, id="sale pays half its own impact"),
        pytest.param("10", "110", "10", "100.50", 0.01, id="purchase likewise"),
        pytest.param("-10", "99.5", "-5", "99.75", -0.005, id="sale stops at its limit"),
        pytest.param("10", "100.5", "5", "100.25", 0.005, id="purchase stops at its limit"),
        pytest.param("-10", "99.55", "-4", "99.80", -0.004, id="in whole lots"),
        pytest.param("-10", "100", None, None, 0.0, id="nothing at the mark itself"),
        pytest.param("-10", "101", None, None, 0.0, id="nothing beyond it"),
        pytest.param("-10", "99.95", None, None, 0.0, id="nothing below a lot"),
    ],
)
def test_an_order_trades_along_the_line_to_its_limit(size, limit, traded, price, displaced):
    book = market()
    trade = book.submit(order(size, limit), CALM)
    if traded is None:
        assert trade is None
    else:
        assert trade is not None
        assert (trade.size, trade.price) == (D(traded), D(price))
    assert book.displaced(0) == pytest.approx(displaced)


def test_a_displacement_halves_every_minute():
    book = market()
    book.submit(order("-10", "90"), CALM)
    assert [round(book.displaced(n * MINUTE), 6) for n in range(3)] == [-0.01, -0.005, -0.0025]


def test_the_next_order_begins_where_the_last_one_left_the_price():
    book = market()
    book.submit(order("-10", "90", "first"), CALM)
    second = book.submit(order("-10", "90", "second"), CALM)
    assert second is not None
    assert second.price == D("98.50")


def test_what_rests_trades_when_the_book_recovers_and_the_order_ends_when_filled():
    book = market()
    first = book.submit(order("-10", "99.5"), CALM)
    assert first == Trade("o", D(-5), D("99.75"), pytest.approx(-0.005))
    assert book.match(CALM) == []
    later = CALM._replace(time=MINUTE)
    (second,) = book.match(later)
    assert second.size == D(-2)
    (third,) = book.match(later._replace(mark=D(102)))
    assert third.size == D(-3)
    assert not book.working


def test_resting_orders_trade_first_come_first_served():
    book = market()
    for name in ("b", "a"):
        assert book.submit(order("-4", "100.2", name), CALM) is None
    trades = book.match(CALM._replace(mark=D("100.5")))
    assert [(trade.order_id, trade.size) for trade in trades] == [("b", D(-2))]


def test_a_cancelled_order_says_what_it_got_and_trades_no_more():
    book = market()
    book.submit(order("-10", "99.5"), CALM)
    taken = book.cancel("o")
    assert taken is not None
    assert (taken.filled, taken.left) == (D(5), D(5))
    assert book.cancel("o") is None
    assert book.match(CALM._replace(mark=D(200))) == []


def test_an_order_is_refused_without_size_or_under_a_name_that_works():
    book = market()
    with pytest.raises(ValueError, match="order o: size is zero"):
        book.submit(order("0", "1"), CALM)
    book.submit(order("-10", "99.5"), CALM)
    with pytest.raises(ValueError, match="order o: works already"):
        book.submit(order("-10", "99.5"), CALM)


sizes = st.decimals("0.01", "1000", places=2)
moves = st.decimals("0.90", "1.10", places=4)


@given(
    buys=st.booleans(),
    orders=st.lists(st.tuples(sizes, moves, moves, st.integers(0, 3 * MINUTE)), max_size=12),
)
def test_no_trade_is_beyond_its_limit_or_its_size(buys, orders):
    book, time, sign = market(), 0, 1 if buys else -1
    traded: dict[str, D] = {}
    limits: dict[str, D] = {}
    asked: dict[str, D] = {}
    for number, (size, limit, move, pause) in enumerate(orders):
        time += pause
        now = Conditions(mark=(100 * move).quantize(D("0.01")), depth=5000.0, time=time)
        name = str(number)
        limits[name] = (100 * limit).quantize(D("0.01"))
        asked[name] = size
        trades = book.match(now)
        first = book.submit(Working(name, sign * size, limits[name], D("0.01")), now)
        for trade in [*trades, *([first] if first else [])]:
            assert trade.size * sign > 0
            assert sign * (trade.price - limits[trade.order_id]) <= 0
            traded[trade.order_id] = traded.get(trade.order_id, D(0)) + abs(trade.size)
    for name, size in traded.items():
        assert size <= asked[name]
        assert (name in book.working) == (size < asked[name])


@given(size=st.integers(2, 40), cut=st.integers(1, 39))
def test_cutting_an_order_in_two_changes_nothing_but_rounding(size, cut):
    cut = min(cut, size - 1)
    whole = market().submit(order(str(-size), "1"), CALM)
    book = market()
    parts = [
        book.submit(order(str(-part), "1", name), CALM)
        for name, part in (("first", cut), ("second", size - cut))
    ]
    assert whole is not None
    cost = sum(-part.size * part.price for part in parts if part is not None)
    assert abs(cost + whole.size * whole.price) <= size * D("0.02")
