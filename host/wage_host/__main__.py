"""python -m wage_host is wage-host."""

from wage_host.cli import main

main()
