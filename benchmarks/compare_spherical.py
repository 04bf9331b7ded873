"""`cace-qeq benchmark` with the places of a checkout: results in benchmarks/results/compare, states in runs/compare.

    python benchmarks/compare_spherical.py run acac --seconds 300 --seeds 1,2,3 \
        --peer-python nequip=PATH --peer-python mace=PATH
    python benchmarks/compare_spherical.py report
"""

import sys

from cace_qeq.cli import main
from record import DATA, RESULTS

OUT = RESULTS / "compare"
DEFAULTS = {
    "run": {"data": DATA, "out": OUT, "states": "runs/compare"},
    "report": {"out": OUT},
    "datasets": {"data": DATA},
}

if __name__ == "__main__":
    main(["benchmark", *sys.argv[1:]], {"benchmark": DEFAULTS})
