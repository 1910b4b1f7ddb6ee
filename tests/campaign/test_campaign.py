"""The campaigns run, count what they tried, and end with 1 where an innocent driver is named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.campaign import __main__ as campaign
from tests.reader import test_removed
from tests.reader.machines import Answer

ARGUMENTS = (["pairs", "irp_absent", "--build", "7601"], ["pages", "kept_only"])


class Accuser:
    """Stands for a reader that names somebody whatever it sees."""

    @staticmethod
    def of(_verdict: Any) -> Answer:
        return Answer("driver", (("bystander.sys", 1),))


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=["pairs", "pages"])
def test_a_campaign_can_fail(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign.main(arguments) == 0
    row, end = capsys.readouterr().out.splitlines()
    name, *counted = row.split()
    tried = sum(map(int, counted[1::2]))
    assert (name, end) == (arguments[1], "0 wrong")
    assert tried >= 30
    monkeypatch.setattr(campaign, "Answer", Accuser)
    monkeypatch.setattr(test_removed, "Answer", Accuser)
    assert campaign.main(arguments) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"{tried} wrong"
    assert "bystander.sys" in err
