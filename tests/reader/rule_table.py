"""The table of rules and weights in csrc/case/rules.c, and what a case shows of it: every name and every value is a row there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from tests.conftest import ROOT


@lru_cache(maxsize=1)
def in_code() -> tuple[dict[str, str | None], dict[str, list[tuple[float, str]]]]:
    """Names with what they need, and the weights of each with their words."""
    text = (ROOT / "csrc" / "case" / "rules.c").read_text()
    rows = re.findall(r'\[(LHI_RULE_\w+)\]\s*=\s*\{\s*"([^"]+)",\s*((?:"[^"]*"\s*)+|NULL)\}', text)
    names = {key: name for key, name, _ in rows}
    weights: dict[str, list[tuple[float, str]]] = {name: [] for name in names.values()}
    for key, value, words in re.findall(r"\[LHI_WEIGHT_\w+\]\s*=\s*\{(LHI_RULE_\w+),\s*([\d.]+),\s*((?:\"[^\"]*\"\s*)+|NULL)\}", text):
        weights[names[key]].append((float(value), "".join(re.findall(r'"([^"]*)"', words)) or "in its own words"))
    return {name: "".join(re.findall(r'"([^"]*)"', needs)) or None for _, name, needs in rows}, weights


def rules_of(case: dict[str, Any]) -> Iterator[str]:
    """Every name of a rule in a case."""
    yield from (factor["name"] for factor in case["verdict"]["confidence"]["factors"])
    yield from (row["rule"] for row in case["unevaluated"])
    yield from (rule for rule in (case["verdict"]["rule"], *(m["rule"] for m in case["ledger"]["mdls"])) if rule)
    yield from (row["rule"] for row in (case["trackers"] or {"list": []})["list"] if row["rule"])


def check_rules(case: dict[str, Any]) -> None:
    """No name, and no weight, that the table does not have."""
    needs, weights = in_code()
    assert set(rules_of(case)) <= needs.keys()
    for factor in case["verdict"]["confidence"]["factors"]:
        assert factor["value"] in {value for value, _ in weights[factor["name"]]}, factor
