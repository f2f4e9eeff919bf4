from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spanloom.gateway.keys import BURST_SECONDS, Key, Keys, load
from spanloom_schemas.settings import SettingsError

KEY = Key(sha256=sha256(b"open").hexdigest(), tenant="acme", spans_per_second=10)


def test_a_key_is_found_by_what_it_hashes_to() -> None:
    keys = Keys([KEY])
    assert keys.find("open") is KEY
    assert keys.find("Open") is None
    assert keys.find(None) is None
    assert keys.find("\ud800") is None
    assert Keys(None).find("open") is None


def test_a_quiet_key_may_burst_and_then_waits_as_long_as_it_takes() -> None:
    keys = Keys([KEY])
    assert keys.admit(KEY, 50, now=0) == 0
    assert keys.admit(KEY, 10, now=0) == 1.0
    assert keys.admit(KEY, 10, now=1.0) == 0
    assert keys.admit(None, 10**9, now=0) == 0


def test_a_request_above_the_burst_is_admitted_once_and_paid_for() -> None:
    keys = Keys([KEY])
    assert keys.admit(KEY, 500, now=0) == 0
    assert keys.admit(KEY, 1, now=0) == pytest.approx(45.1)


def test_what_is_given_back_may_be_sent_and_no_more_than_a_burst() -> None:
    keys = Keys([KEY])
    assert keys.admit(KEY, 50, now=0) == 0
    keys.give_back(KEY, 50)
    assert keys.admit(KEY, 50, now=0) == 0
    keys.give_back(KEY, 50)
    assert keys.admit(KEY, 50, now=9) == 0
    assert keys.admit(KEY, 10, now=9) == 1.0
    keys.give_back(None, 1)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 60)), max_size=60))
def test_no_key_sends_more_than_its_rate_and_one_burst(asked: list[tuple[float, int]]) -> None:
    keys, now, sent = Keys([KEY]), 0.0, 0
    for pause, spans in asked:
        now += pause
        if keys.admit(KEY, spans, now) == 0:
            sent += spans
            assert sent <= 10 * now + 10 * BURST_SECONDS + 60  # the last request may be larger than what was left


def test_what_is_wrong_with_the_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    with pytest.raises(SettingsError, match=r"KEYS_FILE: .*cannot be read"):
        load(str(file))
    for text in ("- {sha256: short, tenant: a}", "tenant: a", "- {tenant: a}", "[", "- {sha256: x, key: secret}"):
        file.write_text(text)
        with pytest.raises(SettingsError, match="is no list of keys") as told:
            load(str(file))
        assert "\n" not in str(told.value)
    file.write_text(f"- {{sha256: {KEY.sha256}, tenant: acme, spans_per_second: 10}}")
    assert load(str(file)).find("open") == KEY
    assert not load("").needed
