"""`python -m mien.cli`: the `mien` command where scripts are not on the path."""

from mien.cli import main

main()
