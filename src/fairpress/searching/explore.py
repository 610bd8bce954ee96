"""Make candidates until the budget is used: cheap ones first, dear ones where they can still win, then optuna's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.searching import search_space
from fairpress.searching.bounds import CANDIDATE, JudgingPlan, bounds_of, exact_p_value
from fairpress.searching.budget import Budget, BudgetOver
from fairpress.searching.candidate_store import Candidate, CandidateStore
from fairpress.searching.latency import milliseconds
from fairpress.searching.limits import Limits, Objective
from fairpress.searching.trial import Trial

Say = Callable[[str], None]
AGAIN = 30  # proposals in a row that were tried before: then a sampler has nothing new


@dataclass
class Explorer:
    """Tries recipes and keeps what came of each."""

    shop: CandidateStore
    asked: JudgingPlan
    limits: Limits
    objective: Objective
    budget: Budget
    say: Say
    trials: dict[str, Trial] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, bits: int | None, *, train: bool, sample: bool) -> None:
        """Try everything the budget allows."""
        by, images = self.asked.by, self.shop.dataset.inputs.ndim > 2
        # Whose answers change much must be judged group by group.
        students = not self.asked.too_few
        for planned in search_space.cheap_recipes(bits, by):
            if self.budget.over:
                return
            if self._can_win(planned, bits):
                self.attempt(planned.recipe)
        sizes = self._sizes()
        if bits is None:
            for planned in search_space.mixed_recipes(sizes, self._to_beat(), by, images):
                if self.budget.over:
                    return
                self.attempt(planned.recipe)
        for planned in search_space.expensive_recipes(bits, by, images, students) if train else ():
            if self.budget.over:
                return
            if self._can_win(planned, bits):
                self.attempt(planned.recipe)
        if sample and bits is None:
            self._sample(sizes, images, train, students)

    def attempt(self, text: str) -> Trial | None:
        """Make and measure a candidate, unless it was tried; None where it failed or the time ended before it was made."""
        recipe = parse(text)
        name = str(recipe)
        if name in self.trials or name in self.failed:
            return self.trials.get(name)

        def watched(sentence: str) -> None:
            if self.budget.left <= 0 and self.trials:
                raise BudgetOver
            if sentence.startswith("epoch"):
                self.say(f"{sentence} of {name}")

        try:
            made = self.shop.make(recipe, watched)
        except BudgetOver:
            self.say(f"{name}: given up, the time is over")
            return None
        self.budget.used += 1
        return self.record(made)

    def record(self, made: Candidate) -> Trial | None:
        """Measure a candidate on the choosing rows and keep it; None where none could be made."""
        name = made.recipe
        if made.artifact is None:
            self.failed[name] = str(made.failure)
            self.say(f"{name}: {made.failure}")
            return None
        evidence = self.shop.evidence(made.artifact, self.shop.rows.choosing, self.asked.by)
        bounds = bounds_of(evidence, self.asked)
        if self.limits.max_bytes is not None:
            bounds.append(exact_p_value("max_bytes", self.limits.max_bytes, made.artifact.size))
        latency = None
        if self.limits.max_latency_ms is not None or self.objective == "latency":
            rows = self.shop.dataset.inputs[self.shop.rows.choosing[:200]]
            files = {name: made.artifact.onnx}
            latency, upper = milliseconds(files, rows, self.asked.confidence)[name]
            if self.limits.max_latency_ms is not None:
                bounds.append(exact_p_value("max_latency_ms", self.limits.max_latency_ms, latency, upper))
        right = evidence.cells.correct(CANDIDATE)
        accuracy = float(evidence.cells.rows[right].sum() / evidence.cells.rows.sum())
        trial = Trial(name, made.artifact, tuple(bounds), accuracy, latency, made.seconds)
        self.trials[name] = trial
        kept = "from the store" if made.reused else f"{made.seconds:.0f} s"
        self.say(f"{name}: {trial.bytes:,} bytes, {'promising' if trial.promising else 'doubtful'} ({kept})")
        return trial

    def _sizes(self) -> dict[int, int]:
        return {w: self.trials[f"int{w}"].bytes for w in search_space.WIDTHS if f"int{w}" in self.trials}

    def _to_beat(self) -> int:
        """Return the bytes that a candidate must be smaller than, to win by size."""
        safe = [t.bytes for t in self.trials.values() if t.safe and t.fits]
        return min(safe, default=self.shop.base.size) if self.objective == "bytes" else self.shop.base.size

    def _can_win(self, planned: search_space.PlannedCandidate, bits: int | None) -> bool:
        """Whether a recipe could still make the best one: by size, only where it would be smaller than what is likely to be.

        Files of one width have one size: there it is worth trying another as long as none looks fine.
        """
        like = self.trials.get(planned.like or "")
        if self.objective != "bytes" or like is None:
            return True
        if bits is not None:
            return not any(t.promising and t.fits and t.bytes <= like.bytes for t in self.trials.values())
        return planned.share * like.bytes < self._to_beat()

    def _sample(self, sizes: dict[int, int], images: bool, train: bool, students: bool) -> None:
        """Let optuna propose. It is told the same results in the same order when a search goes on, and proposes the same."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=self.shop.seed))
        again = 0
        while not self.budget.over and again < AGAIN:
            proposed = study.ask()
            text = search_space.sampled_recipe(proposed, self.asked.by, sizes, images, train, students)
            try:
                name = str(parse(text))
            except UserError:
                study.tell(proposed, state=optuna.trial.TrialState.FAIL)
                again += 1
                continue
            again = again + 1 if name in self.trials or name in self.failed else 0
            trial = self.attempt(text)
            if trial is None:
                study.tell(proposed, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(proposed, self._value(trial))

    def _value(self, trial: Trial) -> float:
        """Return what optuna minimises: the objective relative to the baseline, plus what is not likely to be kept."""
        cost = trial.cost(self.objective)
        scale = float(self.shop.base.size) if self.objective == "bytes" else 1.0
        return cost / scale + min(trial.risk, 10.0) + (0.0 if trial.fits else 10.0)
