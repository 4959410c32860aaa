"""`python -m ssa_fast`: the command line where its console script is not on the path."""

from ssa_fast.cli import main

if __name__ == "__main__":
    main()
