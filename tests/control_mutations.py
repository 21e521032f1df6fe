"""Planted mistakes in how groups are closed under control, and in who takes positions."""

from tests.mutation import Mutation

_SIZES = (
    Mutation(
        "a critical group that cools down",
        "planning",
        "return critical or state.equity <= 0 or liquidation.backstop",
        "return state.equity <= 0 or liquidation.backstop",
    ),
    Mutation(
        "a plan that lowers health is not made whole",
        "planning",
        'if toxic and rule.toxic == "full":',
        "if False:",
    ),
    Mutation(
        "closing looks better by its slippage",
        "projection",
        "cash[part.leg.settle] -= rate * worth(part, rules)",
        "cash[part.leg.settle] += rate * worth(part, rules)",
    ),
    Mutation(
        "the rest of a leg keeps all of its cost",
        "projection",
        "kept = Leg(leg.size - closed, leg.cost - released)",
        "kept = Leg(leg.size - closed, leg.cost)",
    ),
    Mutation(
        "legs chosen without their slippage",
        "selection",
        "part.fee_rate + slippage(leg.symbol, rules)",
        "part.fee_rate",
    ),
    Mutation(
        "the leg that costs most goes first",
        "selection",
        "return -1 if here > there else 1",
        "return -1 if here < there else 1",
    ),
    Mutation(
        "a ramp that forgets what was restored",
        "sizing",
        "restorable = (lacking + freed) * share - freed * duration",
        "restorable = lacking * share",
    ),
    Mutation(
        "a lot more than suffices",
        "sizing",
        "part = part._replace(size=high.lots *",
        "part = part._replace(size=(high.lots + 1) *",
    ),
    Mutation(
        "not down to the lower bracket", "sizing", "curve.caps[place - 1]", "curve.caps[place]"
    ),
    Mutation(
        "a portion without its least",
        "sizing",
        "max(sizing.share * leg.notional, min(sizing.least, leg.notional))",
        "sizing.share * leg.notional",
    ),
    Mutation(
        "a leg of less than a lot stays behind",
        "sizing",
        "return size if size - part < lot else part",
        "return part",
    ),
)

_PRICES_AND_FEES = (
    Mutation(
        "a limit beyond the one at bankruptcy",
        "pricing",
        "max(limit, offered) if sells else min(limit, offered)",
        "min(limit, offered) if sells else max(limit, offered)",
    ),
    Mutation(
        "a ramp of prices that starts at its end",
        "pricing",
        "(end - start) * past",
        "(end - start) * span",
    ),
    Mutation(
        "nobody is passed on before the market was tried",
        "pricing",
        "return below is not None and state.margin_equity < below * state.maintenance",
        "return False",
    ),
    Mutation(
        "an adaptive fee that takes what the group lacks",
        "pricing",
        "lacking = max(state.maintenance - state.margin_equity, ZERO)",
        "lacking = ZERO",
    ),
    Mutation(
        "parts of a fee are given away twice",
        "forced_fills",
        "rest = fee - venue - liquidator",
        "rest = fee",
    ),
    Mutation(
        "fees of a market go to the venue's fund",
        "forced_fills",
        "rest, funds.name_of(rules, event.symbol)",
        "rest",
    ),
)

_PACE = (
    Mutation(
        "orders of earlier events count",
        "pace",
        "in_event = sent.in_event if sent.seq == engine.seq else 0",
        "in_event = sent.in_event",
    ),
    Mutation(
        "orders of earlier seconds count",
        "pace",
        "in_second = sent.in_second if sent.second == engine.time // SECOND else 0",
        "in_second = sent.in_second",
    ),
    Mutation(
        "what is filled is still in flight",
        "pace",
        "left = max(order.size - order.filled, ZERO)",
        "left = order.size",
    ),
    Mutation(
        "a fill does not end a row of unfilled orders",
        "pace",
        "if order.is_market and engine.markets.unfilled.pop(order.symbol, 0):",
        "if False:",
    ),
    Mutation(
        "a second price that agrees is held too",
        "guard",
        "known = (last,) if held is None else (last, held)",
        "known = (last,)",
    ),
    Mutation(
        "forced fills are counted for ever",
        "guard",
        "if one[0] > since]",
        "if one[0] > 0]",
    ),
    Mutation(
        "each forced fill is judged alone",
        "guard",
        "if total <= share * interest",
        "if abs(closed) <= share * interest",
    ),
    Mutation(
        "a market resumes with the flow that halted it",
        "guard",
        "        del flow[symbol]\n",
        "        pass\n",
    ),
)

_TAKERS = (
    Mutation(
        "the fund takes what it cannot pay",
        "takers",
        "capacity = floor_to(max(free, ZERO) * divisor, instrument.lot, lost)",
        "pass",
    ),
    Mutation(
        "live transfers to the fund bind nothing",
        "takers",
        " - _held(engine, closing.symbol)",
        "",
    ),
    Mutation(
        "live transfers to the backstop take no room",
        "takers",
        "lambda order: _worth(engine, order.symbol, order.unfilled)",
        "lambda order: ZERO",
    ),
    Mutation(
        "what the backstop holds takes no room",
        "takers",
        "room = rule.capacity - state.notional",
        "room = rule.capacity",
    ),
    Mutation(
        "who is liquidated takes for others",
        "takers",
        "return taker if taker.liquidation is None else None",
        "return taker",
    ),
    Mutation(
        "who does not answer is asked for ever",
        "timers",
        "        liquidation.pass_over(order)\n",
        "",
    ),
    Mutation(
        "who refuses is asked for ever",
        "fills",
        "        liquidation_of(group).pass_over(order)\n",
        "        pass\n",
    ),
    Mutation(
        "a liquidation fee of a transfer that came late",
        "fills",
        "    if group.account.transferred(order_id):\n",
        "    if False:\n",
    ),
    Mutation(
        "deleveraging always at the bankruptcy price",
        "takers",
        'if adl.price == "mark":',
        "if False:",
    ),
    Mutation(
        "a position is deleveraged twice",
        "takers",
        "max(one.size - engine.transfers.unfilled(one.group.key, symbol), ZERO)",
        "one.size",
    ),
    Mutation(
        "what buyers forgo is not told",
        "takers",
        'signed = size if closing.side == "sell" else -size',
        "signed = size",
    ),
    Mutation(
        "the fund's account bears its losses",
        "transfers",
        "due = floor_to(max(min(loss, room), ZERO), unit)",
        "due = ZERO",
    ),
    Mutation(
        "netting keeps a position from who would take it",
        "netting",
        "netting or last_resort:",
        "netting:",
    ),
    Mutation(
        "leverage of all equity, not of the leg's share",
        "deleveraging",
        "used = max(state.equity * part, unit * price * whole)",
        "used = max(state.equity * whole, unit * price * whole)",
    ),
    Mutation(
        "an inverse short ranked as a linear one",
        "deleveraging",
        "if leg.value > 0:",
        "if leg.size > 0:",
    ),
    Mutation(
        "a wallet with its unrealised results",
        "deleveraging",
        "held -= (one.value - one.cost) * state.prices[one.settle]",
        "held -= ZERO",
    ),
    Mutation(
        "who is hedged goes first",
        "deleveraging",
        "key=lambda one: (one.hedged, -one.score",
        "key=lambda one: (not one.hedged, -one.score",
    ),
    Mutation(
        "losers are deleveraged",
        "deleveraging",
        "if rules.derivatives[symbol].value(leg.size, mark, unit) <= leg.cost:",
        "if False:",
    ),
    Mutation(
        "somebody is pushed under before others give",
        "deleveraging",
        "ask(place, left, limits[0])",
        "ask(place, left, limits[1])",
    ),
    Mutation(
        "a counterparty is made bankrupt",
        "deleveraging",
        "return state is not None and state.equity >= 0",
        "return True",
    ),
    Mutation(
        "hedged accounts give their share beside the others",
        "deleveraging",
        "(range(edge), range(edge, len(candidates)))",
        "(range(len(candidates)),)",
    ),
    Mutation(
        "in proportion to nothing",
        "deleveraging",
        "min(one, floor_to(size * one, lot, whole))",
        "min(one, floor_to(size, lot))",
    ),
    Mutation(
        "a level of somebody else's leverage",
        "deleveraging",
        "(worth - level * one.worth) * one.size",
        "(worth - level * worth) * one.size",
    ),
    Mutation(
        "a drawdown that time cannot end",
        "drawdown",
        "    samples = _within(history.samples, rule, now)\n    return",
        "    samples = history.samples\n    return",
    ),
    Mutation(
        "a drawdown that begins where it should end",
        "drawdown",
        "return peak - amount > rule.start * peak",
        "return peak - amount > rule.stop * peak",
    ),
)

_FUNDS = (
    Mutation(
        "the venue's fund always pays the rest",
        "funds",
        "if own != VENUE and rules.in_force.waterfall.fund.then_venue:",
        "if own != VENUE:",
    ),
    Mutation(
        "a market without a group has a fund of its own",
        "funds",
        "return rule.groups.get(market, VENUE)",
        "return rule.groups.get(market, market)",
    ),
    Mutation(
        "a gate that knows the venue's fund alone",
        "gates",
        "> funds.in_all(engine.ledger, asset)",
        "> funds.held(engine.ledger, asset)",
    ),
)

CONTROL_MUTATIONS = (*_SIZES, *_PRICES_AND_FEES, *_PACE, *_TAKERS, *_FUNDS)
