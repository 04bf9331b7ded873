"""What results look like in files."""

import json
import math

from cace_qeq.benchmark.record import write_result


def test_what_is_not_a_number_is_null_wherever_it_stands(tmp_path):
    runs = [{"drift": math.nan, "steps": 3}, (1.5, math.nan)]
    write_result(tmp_path / "one.json", {"a": math.nan, "b": -math.inf, "runs": runs})
    found = json.loads((tmp_path / "one.json").read_text())
    assert found["a"] is None
    assert found["b"] is None
    assert found["runs"] == [{"drift": None, "steps": 3}, [1.5, None]]
    assert {"processor", "versions", "commit"} <= found["machine"].keys()
