"""Planted mistakes in who pays for what is lost."""

from tests.mutation import Mutation

WATERFALL_MUTATIONS = (
    Mutation(
        "a cap that forgets what was paid",
        "funds",
        "cap - ledger.paid_by_fund.get((asset, market), ZERO)",
        "cap",
    ),
    Mutation(
        "two funds that share no cap",
        "funds",
        "            room -= capacity\n",
        "            pass\n",
    ),
    Mutation(
        "a fund that pays a part of what it should pay whole", "funds", "capacity < amount", "False"
    ),
    Mutation(
        "the fund of a group pays for everybody",
        "funds",
        "return rule.groups.get(market, VENUE)",
        "return next(iter(rule.groups.values()))",
    ),
    Mutation(
        "the whole of a pool's loss asked of a fund that comes second",
        "losses",
        "        left -= min(left, sum(found.values(), ZERO))\n",
        "",
    ),
    Mutation(
        "shares rounded against the loss",
        "waterfall",
        "ceil_to(left * bearers[place][0], unit, total)",
        "floor_to(left * bearers[place][0], unit, total)",
    ),
    Mutation(
        "what one cannot bear is borne by nobody",
        "waterfall",
        "            left -= charges[place]\n",
        "",
    ),
    Mutation("winners bear more than they won", "socialising", 'if by == "winners":', "if False:"),
    Mutation(
        "a charge that takes more than there is",
        "socialising",
        "if state is not None",
        "* 2 if state",
    ),
    Mutation(
        "who is exempt bears losses", "socialising", "not account.protected and account", "account"
    ),
    Mutation(
        "who takes for others bears losses", "socialising", " and account.id not in takers", ""
    ),
    Mutation(
        "the wallet bears its isolated leg's loss",
        "socialising",
        "group.account is bankrupt.account",
        "group is bankrupt",
    ),
    Mutation(
        "what rounding took beyond is lost",
        "socialising",
        "    funds.move(engine, asset, excess)\n",
        "",
    ),
    Mutation(
        "nobody looks at those who were charged",
        "socialising",
        "    engine.others_changed(health=True)\n",
        "",
    ),
    Mutation(
        "a loss in another asset than the market's",
        "socialising",
        "listed is None or listed.settle != asset or",
        "listed is None or",
    ),
    Mutation("yesterday's gains", "sessions", "asset: -gain for", "asset: gain * 0 for"),
    Mutation(
        "funding is no gain", "booking", "    sessions.count(engine, group, asset, amount)\n", ""
    ),
    Mutation(
        "fees are losses of the session",
        "fills",
        "sessions.count(engine, group, instrument.settle, effect.cash)",
        "sessions.count(engine, group, instrument.settle, effect.cash - event.fee)",
    ),
    Mutation(
        "a profile that begins to count begins no session",
        "repricing",
        "sessions.kept(engine) != counted",
        "False",
    ),
    Mutation(
        "a result that a restart forgets", "account_state", "group.session = stored.session", "pass"
    ),
    Mutation(
        "a named fund that a restart forgets",
        "state",
        "ledger.named_funds[asset, name] = amount",
        "pass",
    ),
    Mutation(
        "a gate that never opens", "gates", "closed = has_to_close(engine, asset)", "closed = True"
    ),
    Mutation(
        "a gate that closes at as much as there is",
        "gates",
        "asset) > funds.in_all",
        "asset) >= funds.in_all",
    ),
    Mutation("a gate that a restart opens", "core", "            self.gates.restore(self)\n", ""),
    Mutation(
        "a gate that a profile leaves as it was",
        "repricing",
        "        engine.gates.unsettled.update(engine.rules.assets)\n",
        "",
    ),
    Mutation(
        "a recovery of more than is outstanding",
        "bad_debt",
        "event.amount > left",
        "event.amount > engine.ledger.bad_debt[event.asset, event.market]",
    ),
    Mutation(
        "a recovery that no top-up is",
        "bad_debt",
        "engine.ledger.top_ups[event.asset] += event.amount",
        "pass",
    ),
    Mutation(
        "a pool that gets more than it lacks",
        "bad_debt",
        "min(event.amount, pool.state.deficit)",
        "event.amount",
    ),
    Mutation(
        "what was written off is recovered",
        "loans",
        "min(amount, pool.state.deficit, left)",
        "min(amount, pool.state.deficit)",
    ),
)
