"""`python -m diarist` is `diarist`."""

from diarist.cli.main import main

raise SystemExit(main())
