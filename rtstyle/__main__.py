"""`python -m rtstyle` is the command rtstyle. Written so that older Pythons read as far as the
sentence that says what they lack."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        f"rtstyle needs Python 3.11 or newer, not {sys.version_info[0]}.{sys.version_info[1]}; "
        "name a newer one, as in `python3.12 -m venv .venv`."
    )

from rtstyle.cli.main import main

if __name__ == "__main__":
    main()
