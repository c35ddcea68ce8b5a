"""Whatever a student's process says of itself, staff read the harness's words and the source's."""

from __future__ import annotations

import re

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grading.confined.channel import LENGTH
from grading.parsing.source import Cell, Source
from grading.sandbox.remote import RemoteCandidate
from harness.candidate.operations import Lost, Observe, Observed, Other
from harness.course.settings import Limits
from harness.judging.policy import evidence_in
from tests.test_fuzz import Scripted

Z = torch.ones(2, 3, dtype=torch.float64)
SECRETS = st.from_regex(r"0\.[0-9]{6,17}|[0-9]{7,20}|[a-z]{9,12}", fullmatch=True)
TRUE_WORDS = ("torch.autograd.grad", "aten.sigmoid_backward", "grad_fn", "sys._getframe", "f_back")
FORGED = st.builds(
    lambda word, secret, how: how.format(word, secret),
    st.sampled_from(TRUE_WORDS),
    SECRETS,
    st.sampled_from(
        [
            *("{0}", "{1}", "{0}.{1}", "{0} {1}", "{1}_backward", "aten.{1}_backward"),
            *("torch.{1}", "a difference quotient {1}"),
            *("line {1}", "line 1{1}", "line 00{1}", "cell {1}, line 2", "line 2"),
        ]
    ),
)
SEEN = st.lists(st.tuples(FORGED, FORGED), max_size=6)
FORGERIES = st.tuples(
    *(st.just("Observed"), SEEN, SEEN, SEEN, SEEN, FORGED, st.booleans()),
    st.none() | st.lists(st.builds(Other, FORGED), max_size=3),
)


@pytest.mark.slow
@given(FORGERIES)
def test_no_forged_introspection_tells_anything_but_words_of_the_harness_and_lines(forged):
    text = "first = 1\nsecond = 2"

    def instead(frame):
        message = msgspec.msgpack.decode(frame[LENGTH.size :])
        message["replies"] = [forged]
        payload = msgspec.msgpack.encode(message)
        return LENGTH.pack(len(payload)) + payload

    source = Source((Cell("submission.py", text),), notebook=False)
    with RemoteCandidate(Scripted(instead), source, Limits(call_seconds=1.0)) as remote:
        (told,) = remote.perform([Observe("Sigmoid", (Z,), (True,), (Z,), (True,))])
    if isinstance(told, Lost):
        return
    assert isinstance(told, Observed)
    said = [each for part in (told.named, told.dispatched) for each in part]
    said += [*told.packed, *told.differences]
    for each in said:
        assert (each.place, each.code) in {
            ("", ""),
            ("line 1", "first = 1"),
            ("line 2", "second = 2"),
        }
    texts = [each.text for each in evidence_in("Sigmoid", told)] + [told.built_in, str(told.second)]
    left = re.sub("|".join(map(re.escape, (*TRUE_WORDS, "a difference quotient"))), "", str(texts))
    assert not re.search(r"[0-9]{2,}|[0-9]\.", left)
    assert set(re.findall(r"[a-z_]{9,}", left)) <= {"somewhere", "submission", "built_in"}
