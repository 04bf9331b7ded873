"""`python -m cace_qeq` is `cace-qeq`."""

from cace_qeq.cli import main

main()
