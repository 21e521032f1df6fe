"""The ladder of the book, beside every group valued exactly at every move."""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import Decimal, localcontext

import pytest
from msgspec import structs

from consumers.lending_market import LendingScene, LendingWorld
from consumers.market import Scene, World
from engine.core import Engine
from engine.events import AccountOpened, AnyEvent
from engine.loan_book import BANDS
from engine.margin import Health, breached, health
from engine.markets import Markets
from engine.money import EXACT
from engine.options import value
from producers.ladder import MOVES, Drawn, Picture
from tests.bench import book, loan_book, option_book
from tests.kafka.day import give

TOO_NEAR = 1e-8
"""Nearer to its requirement than this part of its worth, floats may take a group for breached."""


def test_the_move_of_nothing_is_a_rung() -> None:
    assert MOVES[0] == Decimal("-0.5")
    assert MOVES[-1] == Decimal("0.5")
    assert 0 in MOVES


def played(minutes: int = 40) -> Engine:
    """Return the derivatives' crash day on a small book, in the middle of it."""
    scene = Scene(accounts=300, symbols=5, start_minute=750, end_minute=750 + minutes)
    return _play(World(scene))


def lent() -> Engine:
    """Return the lending market's crash on a small book."""
    return _play(LendingWorld(LendingScene(accounts=200)), slots_max=1500)


def _play(world: World | LendingWorld, slots_max: int = 10**9) -> Engine:
    engine = Engine(0)
    for number, slot in enumerate(world.play()):
        for _, event in slot:
            for decision in give(engine, event):
                world.hear(decision)
        if number == slots_max:
            break
    return engine


def told(events: Iterable[AnyEvent]) -> Engine:
    """Return an engine that was told so."""
    engine = Engine(0)
    for event in events:
        for _ in give(engine, event):
            pass
    return engine


def options() -> Engine:
    """Return a book of option portfolios."""
    of = option_book
    return told([*of.rules(), *of.accounts(60), *of.first_prices()])


def loans() -> Engine:
    """Return a book of loans."""
    of = loan_book
    return told([*of.rules(), *of.accounts(200), *of.first_prices()])


BOOKS = {"crash": played, "lending": lent, "options": options, "loans": loans}


@pytest.fixture(scope="module", params=BOOKS)
def engine(request: pytest.FixtureRequest) -> Engine:
    return BOOKS[request.param]()


def drawn(engine: Engine) -> tuple[Picture, Drawn]:
    """Return the picture of a book, and what is drawn of it."""
    picture = Picture(engine)
    for _ in picture.draw():
        pass
    assert picture.drawn is not None
    return picture, picture.drawn


def moved(engine: Engine, move: Decimal, held: Iterable[str]) -> Markets:
    """Return the markets with every price moved, but for assets that are held."""
    markets, still = Markets(), set(held)
    for name in vars(engine.markets):
        setattr(markets, name, getattr(engine.markets, name))
    markets.options = {
        symbol: inputs._replace(forward=inputs.forward * (1 + move))
        for symbol, inputs in engine.markets.options.items()
    }
    markets.prices = {}
    for (symbol, kind), told in engine.prices.items():
        price = told.price
        if symbol in markets.options and kind == "mark":
            price = value(engine.rules.derivatives[symbol], markets.options[symbol])
        elif kind == "mark" or symbol not in still:
            price *= 1 + move
        markets.prices[symbol, kind] = structs.replace(told, price=price)
    return markets


def exactly(engine: Engine, move: Decimal, held: Iterable[str]) -> dict[int, Health]:
    """Return the exact health of every group that may be liquidated after a move, by row."""
    markets, found = moved(engine, move, held), {}
    with localcontext(EXACT):
        for group in engine.book.all_groups():
            state = health(group.holdings, engine.rules, markets)
            if state is not None and state.exposed and group.account.role == "trader":
                found[group.row] = state
    return found


def held_by(state: Health) -> float:
    """Return notional and debts of a group."""
    owed = sum(float(loan.owed * loan.price) for loan in state.loans)
    return float(state.notional) + owed


def near(state: Health) -> bool:
    """Tell whether floats may not know on which side of its requirement a group is."""
    gross = held_by(state) + sum(
        abs(float(amount * state.prices[asset])) for asset, amount in state.cash.items()
    )
    return abs(float(state.margin_equity - state.maintenance)) <= TOO_NEAR * gross


def test_every_rung_is_what_exact_health_gives(engine: Engine) -> None:
    picture, shown = drawn(engine)
    now = {row: held_by(state) for row, state in exactly(engine, Decimal(0), ()).items()}
    seen = set()
    for move, rung in zip(MOVES, shown.rungs, strict=True):
        states = exactly(engine, move, picture.held)
        assert not any(map(near, states.values())), "choose another seed"
        rows = [row for row, state in states.items() if breached(state, engine.rules)]
        assert rung.move == float(move)
        assert rung.groups == len(rows)
        # Debts are rounded to units of their asset, one by one.
        assert rung.notional == pytest.approx(sum(now[row] for row in rows), rel=1e-7)
        seen.add(rung.groups)
    assert len(seen) > 3, "a ladder that is flat tests nothing"


def test_bands_are_those_of_exact_health_and_nobody_is_forgotten(engine: Engine) -> None:
    _, shown = drawn(engine)
    expected = dict.fromkeys(BANDS, 0)
    notional = dict.fromkeys(BANDS, 0.0)
    for state in exactly(engine, Decimal(0), ()).values():
        needs, equity = float(state.maintenance), float(state.margin_equity)
        ratio = equity / needs if needs else float("-inf" if equity < 0 else "inf")
        name = next(name for name, top in BANDS.items() if ratio < top or top == float("inf"))
        expected[name] += 1
        notional[name] += held_by(state)
    assert {name: part.groups for name, part in shown.bands.items()} == expected
    for name, part in shown.bands.items():
        assert part.notional == pytest.approx(notional[name], rel=1e-7)
    groups = sum(part.groups for part in shown.bands.values())
    groups += shown.unpriced.groups + shown.exempt.groups + shown.idle
    assert groups == sum(engine.watch.counts().values())


def test_who_has_no_price_is_on_no_rung() -> None:
    of = book
    engine = told([*of.rules(), *of.accounts(100), *of.first_prices()[1:]])
    _, shown = drawn(engine)
    assert shown.unpriced.groups == engine.watch.counts()["unpriced"] == 5
    assert max(rung.groups for rung in shown.rungs) <= 95


def test_who_is_never_liquidated_is_on_no_rung() -> None:
    engine = told([*book.rules(), *book.accounts(100), *book.first_prices()])
    before = drawn(engine)[1].rungs[0]
    breached_one = next(g for g in engine.book.all_groups() if next(iter(g.legs.values())).size > 0)
    event = AccountOpened(
        time=engine.time, account=breached_one.account.id, sequence=2, role="exempt"
    )
    for _ in give(engine, event):
        pass
    _, shown = drawn(engine)
    assert shown.exempt.groups == 1
    assert shown.rungs[0].groups == before.groups - 1


def test_a_picture_is_of_its_moment() -> None:
    engine = told([*book.rules(), *book.accounts(200), *book.first_prices()])
    picture, twin = Picture(engine), Picture(engine)
    drawing = picture.draw()
    next(drawing)
    for name in book.MARKETS:
        for _ in give(engine, book.price(name, 2, Decimal(7_000))):
            pass
    for one in (drawing, twin.draw()):
        for _ in one:
            pass
    assert picture.drawn == twin.drawn
    assert drawn(engine)[1].rungs != twin.drawn.rungs


def test_the_numeraire_and_what_is_pegged_to_it_stay() -> None:
    engine = loans()
    assert Picture(engine).held == ["USDT"]
    assert Picture(engine, ["C01", "nowhere"]).held == ["C01", "USDT"]


@pytest.mark.slow
def test_no_stretch_holds_the_loop_on_a_large_book() -> None:
    engine = told([*book.rules(), *book.accounts(20_000), *book.first_prices()])
    stretches = []
    for _ in range(3):
        began = time.thread_time()
        picture = Picture(engine)
        stretches.append([time.thread_time() - began])
        began = time.thread_time()
        for _ in picture.draw():
            stretches[-1].append(time.thread_time() - began)
            began = time.thread_time()
    # The best of three: the collector of garbage may come between.
    assert min(map(max, stretches)) < 0.02
