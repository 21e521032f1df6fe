"""`python -m tests.cases FILE`: one line a case, then how many passed; fails when one does."""

from __future__ import annotations

import sys

from tests.cases.runner import Malformed, read, run, summary


def main(arguments: list[str]) -> int:
    """Run the cases of the one file that is named; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m tests.cases FILE", file=sys.stderr)
        return 2
    try:
        cases = read(arguments[0])
    except (Malformed, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    outcomes = []
    for case in cases:
        outcomes.append(run(case))
        print(outcomes[-1])
    print(summary(outcomes))
    return 1 if any(outcome.verdict == "fail" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
