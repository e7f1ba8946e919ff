"""Exit 0 when the node of this container is ready, else 1 with the reason; for its health check."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

URL = "http://127.0.0.1:8080/health/ready"


def reason() -> str:
    """Why it is not; "" when it is."""
    try:
        with urllib.request.urlopen(URL, timeout=2):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return f"not ready: {error.read(200).decode(errors='replace')}"
    except OSError as error:
        return f"no answer: {error}"


if __name__ == "__main__":
    sys.exit(reason() or 0)
