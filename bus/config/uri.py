"""What a text field may hold: addresses, URIs, names, paths.

A `Format` is attached to a field as `Meta(extra={"format": ...})`; variants of others may bring
their own. `wrong` says what is wrong with a text and how to mend it, without quoting the text (it
may hold a secret); None means that the text is good.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"[\w.-]+")
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?\]")
_DIGITS = re.compile(r"[0-9]{1,5}")


class Format(msgspec.Struct, frozen=True):
    """A kind of text: what to write (for error texts), and the test."""

    allowed: str
    wrong: Callable[[str], str | None]


def has_control(text: str) -> bool:
    """Whether a text holds characters that nobody sees: C0, C1, DEL."""
    return any(char < " " or "\x7f" <= char <= "\x9f" for char in text)


def has_blank(text: str) -> bool:
    """Whether a text holds white space or control characters."""
    return has_control(text) or any(char.isspace() for char in text)


def split_scheme(text: str) -> tuple[str, str]:
    """("redis", "host:6379/0") of "redis://host:6379/0"; the scheme is "" when there is none."""
    match = _SCHEME.match(text)
    return (match[1].lower(), text[match.end() :]) if match else ("", text)


def wrong_host(text: str) -> str | None:
    """What is wrong with "host", "host:port" or "[ipv6]:port"."""
    if has_blank(text):
        return "it holds white space or a control character"
    if text.startswith("["):
        end = text.find("]") + 1
        host, port = text[:end], text[end:]
        if not _IPV6.fullmatch(host):
            return "write an IPv6 address as [::1]"
    else:
        host, colon, number = text.partition(":")
        port = colon + number
        if ":" in number:
            return "write an IPv6 address in brackets, as [::1]:port"
        if not _HOST.fullmatch(host):
            return "the host is missing" if not host else "the host has characters no name has"
    if port and not (_DIGITS.fullmatch(port[1:]) and port[0] == ":" and 0 < int(port[1:]) < 65536):
        return "the port must be a number from 1 to 65535"
    return None


def hosts_format(example: str, schemes: tuple[str, ...] = ()) -> Format:
    """host[:port], with one of `schemes` in front where they are given; no userinfo, no path."""

    def wrong(text: str) -> str | None:
        scheme, rest = split_scheme(text)
        if scheme and scheme not in schemes:
            if not schemes:
                return f"leave out {scheme}://"
            return f"{scheme}:// is not allowed; use {' or '.join(f'{s}://' for s in schemes)}"
        if not text.startswith(scheme):
            return f"write {scheme}:// in lower case"
        if "@" in rest:
            return "no user or password here: they have fields of their own"
        return wrong_host(rest.removesuffix("/") if scheme else rest)

    prefixes = "".join(f" or {scheme}://host:port" for scheme in schemes)
    return Format(f'host:port{prefixes}, for example "{example}"', wrong)


def uri_format(schemes: tuple[str, ...], example: str) -> Format:
    """scheme://[userinfo@]host[:port][/path][?query]; unix:// has a path and no host."""

    def wrong(text: str) -> str | None:
        if has_blank(text):
            return "it holds white space or a control character"
        scheme, rest = split_scheme(text)
        if not scheme:
            return f"the scheme is missing: write {schemes[0]}:// in front"
        if not text.startswith(scheme):
            return f"write {scheme}:// in lower case"
        if scheme not in schemes:
            return _wrong_scheme(scheme, schemes)
        if "#" in rest:
            return "there is a fragment (#); inside a password write # as %23"
        return wrong_authority(rest, unix=scheme == "unix")

    names = ", ".join(f"{scheme}://" for scheme in schemes)
    return Format(f'a URI with {names}, for example "{example}"', wrong)


def wrong_authority(rest: str, *, unix: bool) -> str | None:
    """What is wrong with what follows "://" in a URI for one host, or for a unix socket."""
    before_query = rest.partition("?")[0]
    authority, _, path = before_query.partition("/")
    userinfo, _, host = authority.rpartition("@")
    if "@" in path:
        return "inside a user or password write / as %2F and @ as %40"
    if "@" in userinfo:
        return "inside a user or password write @ as %40"
    if unix:
        return "write unix:///path/of/the/socket" if host or not path else None
    if "," in host:
        return "only one host is allowed here"
    return wrong_host(host)


def _wrong_scheme(scheme: str, schemes: tuple[str, ...]) -> str:
    from bus.config.problem import nearest

    near = nearest(scheme, schemes)
    hint = f"; did you mean {near}://?" if near else ""
    return f"{scheme}:// is not allowed{hint}"


def _wrong_name(text: str) -> str | None:
    if "=" in text or has_blank(text):
        return "a name has no =, white space or control character"
    return None


def _wrong_path(text: str) -> str | None:
    return "it holds a control character" if has_control(text) else None


VARIABLE_NAME = Format('the name of an environment variable, for example "NATS_PASSWORD"', _wrong_name)
FILE_PATH = Format('a file path, for example "/run/secrets/password"', _wrong_path)
