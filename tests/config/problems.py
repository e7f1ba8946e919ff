"""What `decode` complains about, for comparing."""

from __future__ import annotations

import pytest

from bus.config import Problem, decode
from bus.errors import ConfigError


def problems(source: object) -> list[Problem]:
    """The problems of a source that must have some."""
    with pytest.raises(ConfigError) as raised:
        decode(source)
    found = [one for one in raised.value.problems if isinstance(one, Problem)]
    assert found, "a ConfigError of decode() always says what is wrong as data, too"
    for one in found:
        assert one.message in str(raised.value)
    return found


def codes(source: object) -> list[tuple[str, str]]:
    """(path, code) of each."""
    return [(one.path, one.code) for one in problems(source)]
