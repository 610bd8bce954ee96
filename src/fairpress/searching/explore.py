"""Create candidates within the budget: cheap ones, expensive ones that can still win, then proposals of optuna."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Kind
from fairpress.searching import search_space
from fairpress.searching.bounds import CANDIDATE, JudgingPlan, bounds_of, exact_bound
from fairpress.searching.budget import Budget, BudgetExceeded
from fairpress.searching.candidate_store import Candidate, CandidateStore
from fairpress.searching.latency import measure_latency, timed_rows
from fairpress.searching.limits import Limits, Objective
from fairpress.searching.trial import Trial

MAX_REPEATS = 30  # stop sampling after this many consecutive proposals without a new recipe


@dataclass
class Explorer:
    """Tries recipes and collects their results."""

    candidates: CandidateStore
    plan: JudgingPlan
    limits: Limits
    objective: Objective
    budget: Budget
    on_message: OnMessage
    trials: dict[str, Trial] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, bits: int | None, *, train: bool, sample: bool) -> None:
        """Try everything the budget allows."""
        by, kind = self.plan.by, self.candidates.dataset.kind
        # A model that changes many predictions must be judged in every group.
        students = not self.plan.too_few
        for planned in search_space.cheap_recipes(bits, by, kind):
            if self.budget.over:
                return
            if self._can_win(planned, bits):
                self.attempt(planned.recipe)
        sizes = self._sizes()
        if bits is None:
            for planned in search_space.mixed_recipes(sizes, self._bytes_to_beat(), by, kind):
                if self.budget.over:
                    return
                self.attempt(planned.recipe)
        for planned in search_space.expensive_recipes(bits, by, kind, students) if train else ():
            if self.budget.over:
                return
            if self._can_win(planned, bits):
                self.attempt(planned.recipe)
        if sample and bits is None:
            self._sample(sizes, kind, train, students)

    def attempt(self, text: str) -> Trial | None:
        """Create and evaluate a candidate unless it was tried before; None if it failed or the time ran out."""
        recipe = parse(text)
        name = str(recipe)
        if name in self.trials or name in self.failed:
            return self.trials.get(name)

        def watched(sentence: str) -> None:
            if self.budget.left <= 0 and self.trials:
                raise BudgetExceeded
            if sentence.startswith("epoch") or sentence.endswith(" left"):
                self.on_message(f"{name}: {sentence}")

        try:
            candidate = self.candidates.make(recipe, watched)
        except BudgetExceeded:
            self.on_message(f"{name}: abandoned, the time is up")
            return None
        self.budget.used += 1
        return self.record(candidate)

    def record(self, candidate: Candidate) -> Trial | None:
        """Evaluate a candidate on the choosing rows and record it; None if its recipe failed."""
        name = candidate.recipe
        if candidate.artifact is None:
            self.failed[name] = str(candidate.failure)
            self.on_message(f"{name}: {candidate.failure}")
            return None
        evidence = self.candidates.evidence(candidate.artifact, self.candidates.rows.choosing, self.plan.by)
        bounds = bounds_of(evidence, self.plan)
        if self.limits.max_bytes is not None:
            bounds.append(exact_bound("max_bytes", self.limits.max_bytes, candidate.artifact.size))
        latency = None
        if self.limits.max_latency_ms is not None or self.objective == "latency":
            rows = timed_rows(self.candidates.dataset, self.candidates.rows.choosing)
            models = {name: candidate.artifact}
            latency, upper = measure_latency(models, rows, self.plan.confidence)[name]
            if self.limits.max_latency_ms is not None:
                bounds.append(exact_bound("max_latency_ms", self.limits.max_latency_ms, latency, upper))
        correct = evidence.cells.correct(CANDIDATE)
        accuracy = float(evidence.cells.rows[correct].sum() / evidence.cells.rows.sum())
        trial = Trial(name, candidate.artifact, tuple(bounds), accuracy, latency, candidate.seconds)
        self.trials[name] = trial
        origin = "from the store" if candidate.reused else f"{candidate.seconds:.0f} s"
        self.on_message(
            f"{name}: {trial.bytes:,} bytes, {'promising' if trial.promising else 'doubtful'} ({origin})"
            f"{self.budget.describe_rest()}"
        )
        return trial

    def _sizes(self) -> dict[int, int]:
        return {w: self.trials[f"int{w}"].bytes for w in search_space.BIT_WIDTHS if f"int{w}" in self.trials}

    def _bytes_to_beat(self) -> int:
        """Return the size in bytes that a candidate must stay below to win by size."""
        safe = [t.bytes for t in self.trials.values() if t.safe and t.fits]
        return (
            min(safe, default=self.candidates.base.size)
            if self.objective == "bytes"
            else self.candidates.base.size
        )

    def _can_win(self, planned: search_space.PlannedCandidate, bits: int | None) -> bool:
        """Return whether a recipe could still win: by size, only if its file is likely to be smaller than safe candidates.

        All files of one bit width have the same size, so further ones are tried until one is promising.
        """
        like = self.trials.get(planned.like or "")
        if self.objective != "bytes" or like is None:
            return True
        if bits is not None:
            return not any(t.promising and t.fits and t.bytes <= like.bytes for t in self.trials.values())
        return planned.share * like.bytes < self._bytes_to_beat()

    def _sample(self, sizes: dict[int, int], kind: Kind, train: bool, students: bool) -> None:
        """Try the proposals of optuna. A resumed search reports the same results in order and gets the same proposals."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=self.candidates.seed))
        repeats = 0
        while not self.budget.over and repeats < MAX_REPEATS:
            proposal = study.ask()
            text = search_space.sampled_recipe(proposal, self.plan.by, sizes, kind, train, students)
            try:
                name = str(parse(text))
            except UserError:
                study.tell(proposal, state=optuna.trial.TrialState.FAIL)
                repeats += 1
                continue
            repeats = repeats + 1 if name in self.trials or name in self.failed else 0
            trial = self.attempt(text)
            if trial is None:
                study.tell(proposal, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(proposal, self._value(trial))

    def _value(self, trial: Trial) -> float:
        """Return the value that optuna minimizes: the objective relative to the baseline, plus the risk as a penalty."""
        cost = trial.cost(self.objective)
        scale = float(self.candidates.base.size) if self.objective == "bytes" else 1.0
        return cost / scale + min(trial.risk, 10.0) + (0.0 if trial.fits else 10.0)
