"""`Coordinator`, the base of every variant, and `Url`, what a variant makes itself from.

A variant is a frozen struct whose class name is its "@type"; it says what its fields mean by
`Annotated[..., Meta(description=..., extra=...)]`, which URL schemes it understands, and which
fields exclude each other. Everything else (decoding, checking, masking, encoding) works on any
variant, so that one more, here or in somebody's plug-in package, is one class.

What `extra` may hold: "format" (a `bus.config.uri.Format`) for text, "min_ms" and "max_ms" for a
`Duration`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from bus.config.redacted import shown
from bus.errors import ConfigError

if TYPE_CHECKING:
    from bus.config.problem import Problem


class Url(msgspec.Struct, frozen=True, kw_only=True):
    """A URL taken apart: scheme://user:password@hosts/path?query, escapes resolved."""

    scheme: str
    user: str | None
    password: str | None
    # "host" or "host:port" each, not yet checked.
    hosts: tuple[str, ...]
    # Without the slash in front.
    path: str
    # The query values that are no fields: those that the variant names in `url_options`.
    options: dict[str, str]
    # The text up to the query, for a variant that keeps a URI as it was written.
    text: str

    def __repr__(self) -> str:
        # Also a user may be a token.
        return f"Url({self.scheme}://...)"

    def refuse_path(self) -> None:
        """Raise ConfigError if there is a path, for systems without one."""
        if self.path:
            raise ConfigError(f"{self.scheme}:// takes no path after the host")


class Coordinator(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="@type",
    rename="camel",
):
    """Base of the variants. Subclass with `frozen=True, kw_only=True`; JSON names are camelCase.

    Constructing one checks nothing; `decode(variant)` does, and so does `Bus.open`.
    """

    url_schemes: ClassVar[tuple[str, ...]] = ()
    # Query parameters that are no fields, and fields that have a default in URLs only.
    url_options: ClassVar[tuple[str, ...]] = ()
    url_defaults: ClassVar[Mapping[str, object]] = {}

    @classmethod
    def from_url(cls, url: Url) -> dict[str, object]:
        """The fields (JSON names and values) that a URL sets; its query comes on top.

        The values are checked afterwards like any other. Raises ConfigError for a URL that cannot
        be mapped; the text must not quote it.
        """
        raise ConfigError(f"{cls.__name__} cannot be written as {url.scheme}://")

    def conflicts(self) -> Iterable[Problem]:
        """What is wrong between fields, each of them being good by itself.

        A Problem names all fields that it is about (`path` and `others`): it is dropped if one of
        them is wrong by itself. Such a field has its default here, a required text or list is
        empty; with another required field wrong nothing is asked.
        """
        return ()

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, shown(getattr(self, name))) for name in self.__struct_fields__]


def type_of(coordinator: Coordinator) -> str:
    """The "@type" of a variant."""
    return str(coordinator.__struct_config__.tag)
