"""What an instructor sets is read exactly or refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.course.assignments import load_assignment
from harness.course.settings import (
    FEEDBACK_LEVELS,
    Limits,
    Settings,
    SettingsError,
    load_settings,
    settings_beside,
)
from harness.probes import plan


def load(tmp_path, text):
    path = tmp_path / "assignment.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, "one-neuron")


def test_what_is_left_out_keeps_what_is_declared(tmp_path):
    assert load(tmp_path, 'assignment = "one-neuron"') == Settings()


def test_points_feedback_policy_and_limits_are_read(tmp_path):
    settings = load(
        tmp_path,
        """
        assignment = "one-neuron"
        feedback = "where"
        packages = ["scipy"]
        deadline = 2026-03-09T23:59:00+01:00
        [points]
        "sigmoid/gradient/z" = 3
        training = 0
        [policy]
        finite-differences = "zero"
        [limits]
        call_seconds = 2.5
        memory_mib = 512
        """,
    )
    assert settings.points == {"sigmoid/gradient/z": 3.0, "training": 0.0}
    assert settings.limits == Limits(call_seconds=2.5, memory_mib=512)
    assert settings.policy == settings.as_dict()["policy"] == {"finite-differences": "zero"}
    assert settings.packages == ("scipy",)
    assert settings.deadline == "2026-03-09T23:59:00+01:00"
    assert settings.shows("where") and not settings.shows("hint")
    planned = {check.id: check for check in plan(load_assignment("one-neuron"), settings)}
    assert planned["sigmoid/gradient/z"].max_points == 3.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("feedback = ", "assignment.toml"),
        ('feedback = "where"', "assignment = None"),
        ('assignment = "many-neurons"', "'many-neurons' where 'one-neuron'"),
        ('assignment = "one-neuron"\ncolour = "red"', "unknown setting 'colour'"),
        ('assignment = "one-neuron"\nfeedback = "all"', "it must be one of verdict"),
        ('assignment = "one-neuron"\npoints = 3', "must be a table"),
        ('assignment = "one-neuron"\n[points]\ntraining = -1', "points.training = -1.0"),
        ('assignment = "one-neuron"\n[points]\ntraining = nan', "points.training"),
        ('assignment = "one-neuron"\n[points]\ntraining = true', "points.training = True"),
        ('assignment = "one-neuron"\npolicy = "zero"', "keys delegates-to-autograd, built-in"),
        ('assignment = "one-neuron"\n[policy]\nloops = "zero"', "keys delegates-to-autograd"),
        (
            'assignment = "one-neuron"\n[policy]\nfinite-differences = "half"',
            "policy.finite-differences = 'half'; it must be one of flag, zero, ignore",
        ),
        (
            'assignment = "one-neuron"\n[policy]\nfinite-differences = ["zero"]',
            "policy.finite-differences = ['zero']; it must be one of",
        ),
        (
            'assignment = "one-neuron"\ndeadline = "tomorrow"',
            "deadline = 'tomorrow'; it must be a date, or a date and time",
        ),
        (
            'assignment = "one-neuron"\npackages = "scipy"',
            "packages = 'scipy'; it must be a list",
        ),
        ('assignment = "one-neuron"\npackages = ["a; b"]', "it must be a list of"),
        ('assignment = "one-neuron"\n[limits]\nspeed = 3', "keys call_seconds"),
        ('assignment = "one-neuron"\n[limits]\ncall_seconds = 0', "at least 0.1"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_with_the_reason(tmp_path, text, said):
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text)
    assert said.replace("-1.0", "-1") in str(refused.value)
    assert "assignment.toml" in str(refused.value)


def test_points_for_a_check_that_does_not_exist_are_refused():
    with pytest.raises(SettingsError, match="no check is called 'sigmoid/gradient/x'"):
        plan(load_assignment("one-neuron"), Settings(points={"sigmoid/gradient/x": 1.0}))


def test_a_folder_without_settings_has_the_declared_ones(tmp_path):
    assert settings_beside(tmp_path, "one-neuron") == Settings()


@given(st.sampled_from(FEEDBACK_LEVELS), st.sampled_from(FEEDBACK_LEVELS))
def test_a_level_shows_itself_and_all_before_it(level, asked):
    shown = Settings(feedback=level).shows(asked)
    assert shown == (FEEDBACK_LEVELS.index(asked) <= FEEDBACK_LEVELS.index(level))
