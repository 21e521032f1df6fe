"""What several shards cannot follow, because none of them sees all accounts."""

from typing import Any

import pytest

from consumers.life import beyond_one_shard
from engine.lending_profile import Lending
from engine.profile import RiskProfile
from engine.waterfall_profile import Deleveraging, FundRule, Waterfall


def profile(**rules: Any) -> RiskProfile:
    return RiskProfile(name="venue", numeraire="USDT", requirements={}, **rules)


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ({"lending": Lending({})}, "lending: a pool needs"),
        (
            {"waterfall": Waterfall(takers=("adl",), adl=Deleveraging())},
            "waterfall takers: who takes positions needs",
        ),
        (
            {"waterfall": Waterfall(socialised="winners")},
            "waterfall socialised: who else bears a loss needs",
        ),
        ({"waterfall": Waterfall(gate=True)}, "waterfall gate: what is unpaid in all needs"),
    ],
)
def test_what_needs_all_accounts_needs_one_shard(rules: dict[str, Any], rule: str) -> None:
    assert beyond_one_shard(profile(**rules), 4) == f"{rule} one shard, and these are 4"
    assert beyond_one_shard(profile(**rules), 1) == ""


def test_every_shard_has_funds_of_its_own() -> None:
    assert beyond_one_shard(profile(waterfall=Waterfall(fund=FundRule(by="market"))), 4) == ""
