import sys

import pytest
from typer.testing import CliRunner

from cace_qeq.cli import app, main
from cace_qeq.cli import quickstart as command
from small_quickstart import small_plan


@pytest.fixture
def plan(tmp_path, monkeypatch):
    small = small_plan(tmp_path)
    monkeypatch.setattr(command, "Plan", lambda out: small)
    return small


def test_quickstart_shows_errors_and_angles_and_replaces_a_run_only_if_told(plan, monkeypatch, capsys):
    plan.out.mkdir()
    (plan.out / "md.extxyz").write_text("an earlier run\n")
    monkeypatch.setattr(sys, "argv", ["cace-qeq", "quickstart", "--out", str(plan.out)])
    with pytest.raises(SystemExit) as refused:
        main()
    assert refused.value.code == 1
    assert "already holds files; give --overwrite" in capsys.readouterr().err
    assert (plan.out / "md.extxyz").read_text() == "an earlier run\n"

    result = CliRunner().invoke(app, ["quickstart", "--out", str(plan.out), "--overwrite"])
    assert result.exit_code == 0, result.output
    for word in ("epoch 2", "epoch 4", "total charge +1", "total charge -1", "meV/atom", "Ag3-", "report.html"):
        assert word in result.output
    assert "epoch 3 " not in result.output  # only validated epochs have a line


def test_ctrl_c_says_how_to_go_on(plan, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    result = CliRunner().invoke(app, ["quickstart", "--out", "somewhere"])
    assert result.exit_code == 130
    assert "cace-qeq quickstart --out somewhere --overwrite" in result.output
