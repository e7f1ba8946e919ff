"""Writes docs/fields.md from the tests that show what each field does: `python -m tests.fields`.

Runs no test. Ends with 1, after writing, when the table is not complete.
"""

from __future__ import annotations

import sys

from tests.fields.effects import PAGE, collected, page, problems


def main() -> int:
    """Write the page and tell what is missing."""
    rows = collected()
    PAGE.write_text(page(rows))
    found = problems(rows)
    sys.stderr.writelines(f"{problem}\n" for problem in found)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
