"""One file for each code, and what these share.

They run in the codes' own environments, where this package is not: `__main__` starts them by path, they import each
other relatively, and only `cace_qeq_engine` knows more than Python, torch, numpy, ase and its code.
"""
