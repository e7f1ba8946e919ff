"""The fixtures of the admin server, for the page."""

from tests.admin.conftest import certificates, client, here

__all__ = ["certificates", "client", "here"]
