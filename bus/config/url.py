"""A URL as a configuration: scheme://user:password@host:port,host:port/path?field=value.

The scheme names the variant, which maps userinfo, hosts and path to its fields (`from_url`); query
parameters are fields by their JSON names, typed as these are: `pingInterval=5s`, `noEcho=false`,
`authSecret/filePath=/run/secrets/nats`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec.inspect as mi

from bus.config.base import Coordinator, Url
from bus.config.check import Check, as_object, struct_type
from bus.config.problem import listing, nearest
from bus.config.scalar import Form, peel
from bus.config.secret import EnvironmentVariable, File, Secret
from bus.config.uri import has_blank
from bus.errors import ConfigError

_START = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def schemes(variants: Sequence[type[Coordinator]]) -> dict[str, type[Coordinator]]:
    """URL scheme -> variant."""
    return {scheme: variant for variant in variants for scheme in variant.url_schemes}


def is_url(text: str, variants: Sequence[type[Coordinator]]) -> bool:
    """Whether a text is meant as a URL: it has "://", or starts with a scheme that we know."""
    start = _START.match(text)
    return "://" in text or (start is not None and start[1].lower() in schemes(variants))


def from_url(check: Check, text: str, variants: Sequence[type[Coordinator]]) -> object:
    """The object that a URL describes; None when `check` has got a problem instead."""
    known = schemes(variants)
    start = _START.match(text)
    scheme = start[1].lower() if start else ""
    variant = known.get(scheme)
    listed = listing(f"{name}://" for name in known)
    if variant is None:
        near = nearest(scheme, known) if scheme else None
        hint = f"did you mean {near}://?" if near else ""
        check.add("", "source", f"unknown scheme {scheme}://", allowed=listed, hint=hint)
        return None
    rest = text[len(scheme) + 1 :]
    try:
        if not rest.startswith("//"):
            raise ConfigError(f"write {scheme}:// with two slashes")
        url, query = _split(scheme, rest[2:], variant)
        return _merged(check, url, query, variant, variants)
    except ConfigError as exc:
        check.add("", "source", str(exc), hint=_example(scheme))
        return None


def _example(scheme: str) -> str:
    userinfo = "" if scheme in ("memory", "zenoh") else "[user:password@]"
    example = "" if scheme == "memory" else f"{userinfo}host[:port][?field=value]"
    return f"the form is {scheme}://{example}"


def _split(scheme: str, rest: str, variant: type[Coordinator]) -> tuple[Url, list[tuple[str, str]]]:
    """Take a URL apart. Raises ConfigError, which quotes nothing of it."""
    if has_blank(rest):
        raise ConfigError("it holds white space or a control character; write a blank as %20")
    if "#" in rest:
        raise ConfigError("there is a fragment (#); inside a password write # as %23")
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    userinfo, at, hosts = authority.rpartition("@")
    if "@" in path:
        raise ConfigError("inside a user or password write / as %2F and @ as %40")
    if "@" in userinfo:
        raise ConfigError(
            "write user and password once, in front of the first host; inside them write @ as %40"
        )
    user, colon, password = userinfo.partition(":")
    if at and not user and not password:
        raise ConfigError("there is an @ without a user or password in front of it")
    if "," in hosts and not all(hosts.split(",")):
        raise ConfigError("between two commas the host is missing")
    options: dict[str, str] = {}
    pairs: list[tuple[str, str]] = []
    for part in query.split("&") if query else []:
        name, _, value = (_plain(text) for text in part.partition("="))
        if name in variant.url_options and name not in options:
            options[name] = value
        else:
            pairs.append((name, value))
    url = Url(
        scheme=scheme,
        user=_plain(user) if at else None,
        password=_plain(password) if colon else None,
        hosts=tuple(hosts.split(",")) if hosts else (),
        path=_plain(path),
        options=options,
        text=f"{scheme}://{before}",
    )
    return url, pairs


def _plain(text: str) -> str:
    """Resolve %XX. Raises ConfigError."""
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise ConfigError("there is a % without two hex digits after it; write % as %25")
    from urllib.parse import unquote_to_bytes

    # Not within `except`: a decoding error holds the text, and would be the context of ours.
    plain = unquote_to_bytes(text).decode(errors="replace")
    if "\ufffd" in plain and "\ufffd" not in text:
        raise ConfigError("the escapes (%XX) are not UTF-8")
    return plain


def _merged(
    check: Check,
    url: Url,
    query: list[tuple[str, str]],
    variant: type[Coordinator],
    variants: Sequence[type[Coordinator]],
) -> dict[str, object]:
    """The fields of a URL and of its query as one object."""
    fields = {field.encode_name: peel(field.type) for field in struct_type(variant).fields}
    given = variant.from_url(url)
    from_query: dict[str, object] = {}
    for name, text in query:
        field, _, inner = name.partition("/")
        if name in url.options:
            check.add(name, "duplicate", "is given twice in the URL")
        elif field not in fields or (inner and not _is_secret(fields[field])):
            others = [other for other in variants if other is not variant]
            check.unknown("", name, variant, others, variant.url_options)
        elif field in given or field in from_query:
            check.add(field, "duplicate", "is given twice in the URL")
        else:
            from_query[field] = _typed(fields[field], text, inner)
    config = struct_type(variant)
    return {str(config.tag_field): config.tag, **variant.url_defaults, **given, **from_query}


def _is_secret(form: Form) -> bool:
    return isinstance(form.type, mi.UnionType) and all(
        isinstance(one, mi.StructType) and issubclass(one.cls, Secret) for one in form.type.types
    )


def _typed(form: Form, text: str, inner: str) -> object:
    """A query value as JSON would have it; what does not fit stays text, and is reported."""
    if form.nullable and text == "null":
        return None
    if _is_secret(form):
        return _secret(cast("mi.UnionType", form.type), text, inner)
    match form.type:
        case mi.BoolType() if text in ("true", "false"):
            return text == "true"
        case mi.IntType() if re.fullmatch(r"-?[0-9]{1,20}", text):
            return int(text)
        case mi.VarTupleType() | mi.ListType():
            return text.split(",")
        case _:
            return text


def _secret(union: mi.UnionType, text: str, inner: str) -> Mapping[str, object]:
    """`authSecret=pw`, `authSecret/variableName=PW`, `authSecret/filePath=/run/pw`."""
    if inner in ("variableName", "filePath"):
        made = EnvironmentVariable(text) if inner == "variableName" else File(text)
        return as_object(made)
    # Value or Text, whichever this union has.
    tags = [str(one.tag) for one in union.types if isinstance(one, mi.StructType)]
    tag = "Text" if "Text" in tags else "Value"
    return {"@type": tag, (inner or "secret"): text}
