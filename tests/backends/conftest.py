"""The third party's folder has tests of its own; `test_third_party.py` runs them as a third party would."""

collect_ignore = ["thirdparty"]
