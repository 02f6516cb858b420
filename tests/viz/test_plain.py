"""Hostile words on a page: all of them are seen, none of them does anything."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selu_hpc.viz.plain import LONGEST_SHOWN, plain, script_json


def test_what_cannot_be_seen_is_spelled_out():
    assert plain("a\x00b\x1b[2J\u202egnp.exe\u2066\u200b\ud800") == (
        "a⟨U+0000⟩b⟨U+001B⟩[2J⟨U+202E⟩gnp.exe⟨U+2066⟩⟨U+200B⟩⟨U+D800⟩"
    )


def test_a_line_break_is_shown_and_letters_of_any_language_stay():
    assert plain("öffne\nden Kühlschrank 冰箱 مرحبا") == "öffne⏎den Kühlschrank 冰箱 مرحبا"


@pytest.mark.parametrize("letter", "\u034f\u115f\u1160\u17b4\u180b\u180e\u2800\u3164\ufe0f\uffa0\U000e0101")
def test_a_letter_that_shows_nothing_is_spelled_out_whatever_it_is_counted_as(letter):
    assert plain(f"a{letter}b") == f"a⟨U+{ord(letter):04X}⟩b"


def test_marks_that_languages_use_stay_and_a_tower_of_them_is_spelled_out():
    assert plain("e\u0301 ệ שָּׁ नमस्ते") == "e\u0301 ệ שָּׁ नमस्ते"
    assert plain("a" + "\u0301" * 5 + "b\u0301") == "a\u0301\u0301\u0301⟨U+0301⟩⟨U+0301⟩b\u0301"


def test_endless_words_are_cut_and_the_rest_is_counted():
    assert plain("x" * (LONGEST_SHOWN + 7)) == "x" * LONGEST_SHOWN + " … (7 more characters)"


@given(st.text())
def test_no_tag_begins_or_ends_in_the_data_and_nothing_is_lost(text):
    written = script_json({"said": text, text: 1})
    assert not set(written) & set("<>&\u2028\u2029")
    assert written.isascii()
    assert json.loads(written) == {"said": text, text: 1}


@given(st.text(st.characters()))
def test_plain_words_can_always_be_encoded(text):
    plain(text).encode()
