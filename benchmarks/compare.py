"""Runs the contenders turn by turn on the same submissions, and keeps what each cost.

A round runs every contender once, and the next one runs them in the opposite order, so that a
machine that gets slower or faster does it to all alike.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.meter import ROOT, Command, MeterError, Usage, measure
from benchmarks.mix import Submission, make_loops, make_mix, sample_of, write_mix
from benchmarks.peers import ONE_THREAD, PACKAGES, Peer, PeerError

PARTS = ("limit", "grade", *PACKAGES, "memory", "profile", "loops")
SIDES = (1, 2)
ASSIGNMENT = "many-neurons"
SAMPLE_SECONDS = 0.1
# How many submissions the memory of a contender, and the profile, are taken over.
MEMORY_PEERS, MEMORY_COUNT, PROFILE_COUNT = 2, 100, 50


@dataclass(frozen=True)
class Plan:
    """What to measure, and on how much."""

    submissions: int = 500
    peers: int = 12
    rounds: int = 3
    minutes: float = 20.0
    seed: int = 0
    only: frozenset[str] = frozenset(PARTS)


@dataclass(frozen=True)
class Record:
    """What one contender cost in one round. ``expected`` tells of each submission whether it was
    judged as it should be."""

    what: str
    at_once: int
    round: int
    count: int
    wall: float
    cpu: float
    expected: Mapping[str, bool] = field(default_factory=dict)


@dataclass
class Findings:
    """All that was measured. ``others`` is how many cores other work kept busy, each time;
    ``failures`` tells what could not be measured."""

    plan: Plan
    records: list[Record] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=dict)
    breakdown: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    minutes: float = 0.0
    others: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Comparison:
    """One run of the benchmark in the folder ``workspace``."""

    def __init__(self, plan: Plan, workspace: Path) -> None:
        self.findings = Findings(plan)
        self._plan = plan
        self._place = workspace
        self._log = workspace / "commands.log"
        self._mix = make_mix(plan.submissions, plan.seed)
        self._half = self._mix[: plan.submissions // 2]
        self._sample = sample_of(self._mix, plan.peers)
        self._right = {each.name: each.right for each in self._mix}
        self._peers: dict[str, Peer] = {}
        self._grades = 0

    def run(self) -> None:
        """Measures everything; what fails is noted, and the rest goes on."""
        self._folder("mix", self._mix)
        self._folder("half", self._half)
        self._folder("one", self._mix[:1])
        for name in PACKAGES:
            if name in self._plan.only:
                self._try(f"setting up {name}", partial(self._set_up, name))
        # Making environments is no part of what is measured.
        start = time.monotonic()
        longest = 0.0
        for number in range(self._plan.rounds):
            begun = time.monotonic()
            if number and begun - start + longest > 60 * self._plan.minutes:
                break
            self._round(number)
            self.findings.rounds += 1
            longest = max(longest, time.monotonic() - begun)
        for part in ("memory", "profile", "loops"):
            if part in self._plan.only:
                self._try(part, getattr(self, f"_{part}"))
        self.findings.minutes = (time.monotonic() - start) / 60

    def _round(self, number: int) -> None:
        steps = list(self._steps(number))
        for name, step in reversed(steps) if number % 2 else steps:
            self._try(f"round {number + 1} of {self._plan.rounds}: {name}", step)

    def _steps(self, number: int) -> Iterable[tuple[str, Callable[[], None]]]:
        """What a round does. What is compared most closely runs closest together."""
        for at_once in SIDES:
            if "limit" in self._plan.only:
                yield f"the limit, {at_once} at once", partial(self._limit, number, at_once)
            if "grade" in self._plan.only:
                yield f"grade, {at_once} at once", partial(self._grade, number, at_once)
            for name, peer in self._peers.items():
                yield f"{name}, {at_once} at once", partial(self._peer, number, peer, at_once)
        if "grade" in self._plan.only:
            yield "grade, half of them", partial(self._grade, number, 1, "half")
            yield "grade, one submission", partial(self._grade, number, 1, "one")

    def _try(self, what: str, step: Callable[[], None]) -> None:
        start = time.monotonic()
        print(f"{what} …", end=" ", file=sys.stderr, flush=True)
        try:
            step()
            print(f"{time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
        except (MeterError, PeerError, OSError, ValueError, KeyError) as error:
            print("failed", file=sys.stderr, flush=True)
            self.findings.failures.append(f"{what}: {type(error).__name__}: {error}")

    def _set_up(self, name: str) -> None:
        self._peers[name] = Peer(name, self._place)
        self.findings.versions[name] = self._peers[name].version

    def _folder(self, name: str, submissions: Sequence[Submission]) -> Path:
        return write_mix(self._place / name, list(submissions))

    def _limit(self, number: int, at_once: int) -> None:
        out = self._place / "limit.json"
        usage = self._measured([self._limit_command("mix", at_once, out)])
        found = json.loads(out.read_text(encoding="utf-8"))
        judged = {each["name"]: each for each in found["judged"]}
        passed = {name: each["passed"] for name, each in judged.items()}
        cpu = sum(each["cpu"] for each in judged.values())
        self._keep("limit", at_once, number, found["wall"], cpu, passed)
        self._keep("limit with its start", at_once, number, usage.wall, usage.cpu, passed)
        half = {each.name for each in self._half}
        self._of_part("limit, the other half", at_once, number, judged, set(judged) - half)
        sample = {each.name for each in self._sample}
        self._of_part("limit, the sample", at_once, number, judged, sample)

    def _of_part(
        self,
        what: str,
        at_once: int,
        number: int,
        judged: Mapping[str, Mapping[str, Any]],
        names: set[str],
    ) -> None:
        wall = sum(judged[name]["wall"] for name in names) / at_once
        cpu = sum(judged[name]["cpu"] for name in names)
        self._keep(what, at_once, number, wall, cpu, {n: judged[n]["passed"] for n in names})

    def _grade(self, number: int, workers: int, folder: str = "mix") -> None:
        out = self._out()
        usage = self._measured([self._grade_command(folder, workers, out)])
        what = "grade" if folder == "mix" else f"grade, {folder}"
        self._keep(what, workers, number, usage.wall, usage.cpu, _full_marks(out))
        run = json.loads((out / "run.json").read_text(encoding="utf-8"))
        self.findings.versions["isolation"] = str(run.get("isolation"))

    def _peer(self, number: int, peer: Peer, at_once: int) -> None:
        portion = self._portion(peer.name, number)
        prepared = peer.prepare(portion, at_once)
        usage = measure(prepared.commands, self._log, at_once=at_once)
        self.findings.others.append(usage.others)
        found = prepared.full_marks(usage)
        # Without any mark, a submission was judged wrongly.
        marks = {each.name: found.get(each.name, not each.right) for each in portion}
        self._keep(peer.name, at_once, number, usage.wall, usage.cpu, marks)

    def _portion(self, name: str, number: int) -> Sequence[Submission]:
        """nbgrader gets the whole sample each time, as its own start counts the less for it."""
        if name == "nbgrader":
            return self._sample
        size = max(2, -(-len(self._sample) // self._plan.rounds))
        at = number * size % len(self._sample)
        return self._sample[at : at + size]

    def _memory(self) -> None:
        self._folder("memory", self._mix[:MEMORY_COUNT])
        for at_once in SIDES:
            if "limit" in self._plan.only:
                command = self._limit_command("memory", at_once, self._place / "limit.json")
                self._remember("limit", at_once, [command])
            if "grade" in self._plan.only:
                # The whole of it once, to see that it does not grow.
                folder = "mix" if at_once == SIDES[-1] else "memory"
                self._remember(
                    "grade", at_once, [self._grade_command(folder, at_once, self._out())]
                )
            for name, peer in self._peers.items():
                prepared = peer.prepare(self._sample[:MEMORY_PEERS], at_once)
                self._remember(name, at_once, prepared.commands)

    def _remember(self, what: str, at_once: int, commands: Sequence[Command]) -> None:
        # Commands that judge one submission each run side by side; others do it themselves.
        side_by_side = min(at_once, len(commands))
        usage = measure(commands, self._log, at_once=side_by_side, sample_seconds=SAMPLE_SECONDS)
        if usage.unseen:
            self.findings.failures.append(
                f"memory of {what}: {usage.unseen} readings were refused, so it is more than shown"
            )
        self.findings.memory[f"{what}/{at_once}"] = usage.pss

    def _profile(self) -> None:
        self._folder("profile", sample_of(self._mix, PROFILE_COUNT))
        out = self._place / "breakdown.json"
        argv = ("-m", "benchmarks.breakdown", str(self._place / "profile"), str(out))
        self._measured([_python(argv, ROOT)])
        self.findings.breakdown = json.loads(out.read_text(encoding="utf-8"))

    def _loops(self) -> None:
        loops = make_loops(self._plan.seed)
        self._folder("loops", loops)
        out = self._out()
        usage = self._measured([self._grade_command("loops", 1, out)])
        record = Record("grade, loops", 1, 0, len(loops), usage.wall, usage.cpu)
        self.findings.records.append(record)

    def _limit_command(self, folder: str, at_once: int, out: Path) -> Command:
        argv = ("-m", "benchmarks.limit", str(self._place / folder), str(at_once), str(out))
        return _python(argv, ROOT)

    def _grade_command(self, folder: str, workers: int, out: Path) -> Command:
        argv = ("-m", "grading.cli", "grade", folder, "--assignment", ASSIGNMENT)
        # Away from the checkout's own settings: all contenders take those that are declared.
        return _python((*argv, "--out", str(out), "--workers", str(workers)), self._place)

    def _out(self) -> Path:
        self._grades += 1
        out = self._place / f"results-{self._grades}"
        shutil.rmtree(out, ignore_errors=True)
        return out

    def _measured(self, commands: Sequence[Command]) -> Usage:
        usage = measure(commands, self._log)
        self.findings.others.append(usage.others)
        if any(usage.codes):
            said = self._log.read_text(encoding="utf-8", errors="replace").strip()
            raise MeterError(f"exit codes {usage.codes}; it said: {said[-500:]}")
        if usage.left:
            self.findings.failures.append(f"{usage.left} processes were left behind")
        return usage

    def _keep(
        self,
        what: str,
        at_once: int,
        number: int,
        wall: float,
        cpu: float,
        full_marks: Mapping[str, bool],
    ) -> None:
        expected = {name: full == self._right[name] for name, full in full_marks.items()}
        record = Record(what, at_once, number, len(expected), wall, cpu, expected)
        self.findings.records.append(record)


def _python(argv: Sequence[str], cwd: Path) -> Command:
    return Command([sys.executable, *argv], str(cwd), ONE_THREAD)


def _full_marks(out: Path) -> dict[str, bool]:
    lines = (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return {each["submission"]: each["score"] == each["max_score"] for each in found}
