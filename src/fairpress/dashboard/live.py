"""Audits that are made when somebody asks: of one network, and of one model against another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from fairpress.auditing.run import audit
from fairpress.core.errors import UserError
from fairpress.dashboard.inside import own
from fairpress.dashboard.told import Network, Told
from fairpress.reporting.html import Section, render
from fairpress.studies.output import slug
from fairpress.studies.plan import BASELINE

# They take ten times as long as everything else.
NO_SCORES = "What was decided, judged just now. `fairpress audit` also judges the scores."


def rehearse() -> None:
    """Audit four rows and write the report, so that the first who asks does not wait for what that loads."""
    import pyarrow as pa

    rows = {
        "label": ["a", "b"] * 2,
        BASELINE: ["a", "b"] * 2,
        "small": ["a"] * 4,
        "group": ["x", "x", "y", "y"],
    }
    made = audit(pa.table(rows), baseline=BASELINE, compressed=["small"], by=["group"], positive="a")
    render([Section("", made)], title="")


def of_network(told: Told, network: Network) -> str:
    """Return the report of one network against the baseline of its seed and fold, on the rows it was tested on."""
    where = f"seed {network.seed}, fold {network.fold}"
    title = ", ".join(filter(None, [network.part, network.recipe, where]))
    only = (network.seed, network.fold)
    return _report(told, network.part, BASELINE, network.recipe, title, only)


def of_two(told: Told, part: str, first: str, second: str) -> str:
    """Return the report of what the second model loses against the first, over all seeds both have.

    Raises UserError where the study has no such model, or both are the same.
    """
    for name in (first, second):
        if name not in told.recipes(part):
            raise UserError(f"this study has no model {name!r}.")
    if first == second:
        raise UserError("choose two different models.")
    title = ", ".join(filter(None, [part, f"{second} against {first}"]))
    return _report(told, part, first, second, title, None)


def _report(told: Told, part: str, first: str, second: str, title: str, only: tuple[int, int] | None) -> str:
    single = told.folder / "predictions.parquet"
    path = single if single.is_file() else told.folder / "predictions" / f"{slug(part)}.parquet"
    if not path.is_file() or not own(path, told.folder):
        raise UserError("this study's folder has no predictions to compare.")
    found = _like(told, part)
    asked = (
        ("by", tuple(found["attributes"])),
        ("positive", found["positive"]),
        ("margin", found["margin"]),
        ("confidence", found["confidence"]),
        ("subject", "subject" if found["subjects"] else None),
    )
    return _made(path, path.stat().st_mtime_ns, first, second, title, only, asked)


def _like(told: Told, part: str) -> Mapping[str, Any]:
    """Return an audit of the same part, whose options are used again."""
    for title, found in told.audits.items():
        if title.rpartition(" · ")[0] == part and isinstance(found, Mapping):
            return found
    raise UserError("this study's folder has no audit of that part.")


@lru_cache(maxsize=32)
def _made(
    path: Path,
    changed: int,
    first: str,
    second: str,
    title: str,
    only: tuple[int, int] | None,
    asked: tuple[tuple[str, Any], ...],
) -> str:
    import pyarrow.parquet as pq

    filters = None if only is None else [("seed", "=", only[0]), ("fold", "=", only[1])]
    compressed = [] if first == second else [second]
    models = {c.removesuffix(".score") for c in pq.read_schema(path).names if c.endswith(".score")}
    others = models - {first, *compressed}
    kept = [c for c in pq.read_schema(path).names if c not in others and not _scores(c, models)]
    table = pq.read_table(path, columns=kept, filters=filters)
    several = len(table["seed"].unique()) > 1
    made = audit(
        table, baseline=first, compressed=compressed, seed_column="seed" if several else None, **dict(asked)
    )
    return render([Section(title, made, NO_SCORES)], title=title)


def _scores(column: str, models: Collection[str]) -> bool:
    return any(column.startswith(f"{m}.score") for m in models)
