"""The public functions: what a notebook imports as ``fairpress``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fairpress import __version__
from fairpress.auditing.result import Audit, Verdict
from fairpress.auditing.verdict import WORST_FIRST
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.seeds import checked_seed
from fairpress.datasets import load as load_dataset
from fairpress.datasets.base import Dataset, Part
from fairpress.runtime.artifact import Artifact

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import nn

    from fairpress.reporting.compared import Compared
    from fairpress.runtime.bench_result import Bench
    from fairpress.runtime.foreign import Foreign

__all__ = [
    "Artifact",
    "AuditReport",
    "Dataset",
    "audit",
    "bench",
    "compare",
    "compress",
    "export_cells",
    "load_dataset",
    "mitigate",
    "predict",
    "train",
]

Model = Artifact | str | os.PathLike[str]


class AuditReport(Audit):
    """An audit that can be judged at a glance, written and read."""

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict over all compressed models; None when there is none."""
        found = {c.verdict for c in self.comparisons}
        return next((v for v in WORST_FIRST if v in found), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as audit.json holds it."""
        from fairpress.auditing.schema import to_dict

        return to_dict(self)

    def to_html(
        self, path: str | os.PathLike[str] | None = None, *, title: str = "Audit", banner: str = ""
    ) -> str:
        """Return the one-file report, and write it where a path is given."""
        from fairpress.reporting.html import Section, render

        made_by = {k: str(v) for k, v in self.provenance.items()}
        page = render([Section(title, self)], title=title, banner=banner, made_by=made_by)
        if path is not None:
            write_text(path, page)
        return page

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the audit as Markdown for a pull request, and write it where a path is given."""
        from fairpress.reporting.markdown import render

        return _written(path, render(self))

    def to_latex(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the audit as LaTeX tables (booktabs), and write them where a path is given."""
        from fairpress.reporting.latex import render

        return _written(path, render(self))

    def four_fifths(self, model: str) -> str:
        """Return the impact ratios of a model as Markdown tables; `auditing.four_fifths` has the numbers."""
        from fairpress.auditing.four_fifths import impact_ratios
        from fairpress.reporting.markdown import four_fifths

        return four_fifths(impact_ratios(self, model))


def scoring_ratios(table: Any, model: str, **asked: Any) -> str:
    """Return impact ratios of the scoring rates of a table's ``M.score`` as Markdown; empty without such a column.

    `asked` is `label`, `by`, `positive`, `bins`, `missing` and `confidence`, as in `audit`.
    """
    from fairpress.auditing.four_fifths import scoring_ratios_of
    from fairpress.auditing.source import Source
    from fairpress.reporting.markdown import four_fifths

    return four_fifths(scoring_ratios_of(Source(table), model, **asked))


def embed_audit(model: str | os.PathLike[str], report: Audit, name: str) -> Artifact:
    """Put the summary of what an audit says of model `name` into a model folder's ONNX file, and return it."""
    from fairpress.auditing.summary import summary
    from fairpress.runtime.embed import embed

    artifact = Artifact.load(model)
    artifact = replace(artifact, onnx=embed(artifact.onnx, summary(report, name)))
    artifact.save(model)
    return artifact


def audit(
    table: Any,
    *,
    label: str = "label",
    baseline: str | None = None,
    compressed: Sequence[str] | None = None,
    by: Sequence[str],
    positive: str | None = None,
    decide: Mapping[str, str] | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
    metrics: Sequence[str] | None = None,
    weight: str | None = None,
    subject: str | None = None,
    seed_column: str | None = None,
    row_id: str = "row_id",
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    correction: str = "holm",
    family: str = "artifact",
    pairs: Sequence[str | tuple[Mapping[str, str], Mapping[str, str]]] = (),
    pairs_from: Any = None,
) -> AuditReport:
    """Audit a predictions table; see `fairpress.auditing.run.audit`.

    A table made by `predict` names its models itself: the first is the baseline unless told otherwise.
    """
    from fairpress.auditing.run import audit as run

    named = _models_of(table)
    if baseline is None:
        if not named:
            raise UserError("name the baseline's column: baseline='fp32'.")
        baseline = named[0]
    if compressed is None:
        compressed = [n for n in named if n != baseline]
    found = run(
        table,
        label=label,
        baseline=baseline,
        compressed=compressed,
        by=by,
        positive=positive,
        decide=decide,
        margin=margin,
        confidence=confidence,
        metrics=metrics,
        weight=weight,
        subject=subject,
        seed_column=seed_column,
        row_id=row_id,
        bins=bins,
        missing=missing,
        correction=correction,
        family=family,
        pairs=pairs,
        pairs_from=pairs_from,
    )
    found = replace(found, provenance=_made_by(table))
    return AuditReport(**{name: getattr(found, name) for name in Audit.__dataclass_fields__})


def _made_by(table: Any) -> dict[str, str]:
    """Return the versions an audit rests on, and the table where it is a file."""
    from importlib import metadata

    versions = {name: metadata.version(name) for name in ("duckdb", "numpy", "scipy")}
    paths = table if isinstance(table, (list, tuple)) else [table]
    named = [os.fspath(p) for p in paths if isinstance(p, (str, os.PathLike))]
    return {"fairpress": __version__, **versions, **({"table": ", ".join(named)} if named else {})}


def export_cells(
    table: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    label: str = "label",
    baseline: str,
    compressed: Sequence[str] = (),
    by: Sequence[str],
    positive: str | None = None,
    decide: Mapping[str, str] | None = None,
    weight: str | None = None,
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
) -> pa.Table:
    """Count a predictions table into cells, and write them as Parquet where a path is given.

    The table of cells can be audited in place of the rows, alone or with those of other sites:
    ``audit([cells_a, cells_b], …)``. Arguments are those of `audit`.
    """
    from fairpress.auditing.cells_file import cells_table
    from fairpress.auditing.run import count
    from fairpress.auditing.source import Source

    cells = count(
        Source(table),
        label=label,
        models=[baseline, *compressed],
        by=by,
        positive=positive,
        decide=decide,
        weight=weight,
        bins=bins,
        missing=missing,
    )
    found = cells_table(cells, label, weight is not None)
    if path is not None:
        write_table(path, found)
    return found


def train(
    model: str,
    data: Dataset | str,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    device: str | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] | None = None,
) -> Artifact:
    """Train one network, ``"mlp"`` on a table or one like ``"resnet18"`` on images, and return its artifact.

    Parameters
    ----------
    data
        A dataset, or what `load_dataset` finds by name.
    options, training
        The architecture's options, and those of its training (`training.fit.FitConfig`, `ImageFitConfig`).
    device
        ``"cpu"``, ``"cuda"`` and so on, or ``"auto"``; by default a GPU, where there is one, for images.
    checkpoints
        A folder where the training of images keeps its state after each epoch; the same call goes on from it.
    say
        Receives a sentence about progress now and then.
    """
    from fairpress.models import registry
    from fairpress.training.fit import fit, training_config

    checked_seed(seed)
    architecture = registry.get(model, **(options or {}))
    config = training_config(architecture, training)
    dataset = load_dataset(data) if isinstance(data, str) else data
    return fit(
        architecture,
        [dataset.development()],
        [seed],
        config,
        progress=say,
        device=device or ("auto" if architecture.reads == "images" else "cpu"),
        checkpoints=None if checkpoints is None else Path(checkpoints),
    )[0]


def compress(
    base: Model | nn.Module,
    recipe: str,
    *,
    data: Dataset | str | Iterable[Any] | None = None,
    seed: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Artifact:
    """Compress a trained model by a recipe such as ``"int8"``, and return the checked artifact.

    Parameters
    ----------
    base
        A model folder or artifact, whose float weights are at hand; or any `torch.nn.Module` that maps a tensor to a logit
        per class. It is not changed.
    data
        A dataset or its name, found from the card if not given. For a module also batches (x, y) or (x, y, groups),
        such as a `DataLoader`: `compression.module.compress_module` says what they are used for.
    seed
        Of further training; by default the card's.
    say
        Receives a sentence about progress now and then.
    """
    from fairpress.compression.apply import compress as apply
    from fairpress.compression.recipes import parse

    chosen = parse(recipe)
    if seed is not None:
        checked_seed(seed)
    dataset = load_dataset(data) if isinstance(data, str) else data
    if not isinstance(base, Artifact | str | os.PathLike):
        from fairpress.compression.module import compress_module

        if dataset is None:
            raise UserError(
                "say which rows to compress the network with: data=…, a dataset or batches (x, y)."
            )
        return compress_module(base, chosen, dataset, seed=seed or 0, progress=say)
    artifact = open_model(base)
    if artifact.mitigation is not None:
        raise UserError(
            "this model carries a mitigation, which fits its own scores and no other's; compress the model it was made "
            "from, and mitigate the result."
        )
    if dataset is None:
        dataset = data_of(artifact)
    if not isinstance(dataset, Dataset):
        raise UserError("a model folder is compressed with a dataset; batches are for networks of your own.")
    return apply([artifact], chosen, [dataset], [artifact.card.seed or 0 if seed is None else seed], say)[0]


def mitigate(
    base: Model,
    *,
    by: str,
    method: str = "calibrated-equalized-odds",
    data: Dataset | str | None = None,
    seed: int = 0,
    **options: Any,
) -> Artifact:
    """Repair a finished model's scores or decisions on validation rows, and return the artifact that carries the repair.

    The ONNX file stays as it is: `predict` applies the repair, and needs every row's `by`. Compress first: a repair fits the
    scores of one file.

    Parameters
    ----------
    base
        A model folder or artifact of a task of two classes, compressed or not.
    by
        A sensitive attribute, or an intersection such as ``"sex*race"``.
    method
        ``"calibrated-equalized-odds"``, with ``cost`` (``"weighted"``, ``"fnr"`` or ``"fpr"``) and ``calibration``
        (``"platt"`` or ``"none"``): `mitigation.calibrated_equalized_odds`. Or ``"thresholds"``, with ``constraint``:
        `mitigation.thresholds`.
    data
        A dataset or its name, found from the card if not given.
    seed
        Of the coin that is thrown for every row.

    Raises
    ------
    UserError
        The model has a repair already or not two classes, an option or attribute is unknown, or too few groups have rows.
    """
    from fairpress.runtime.mitigated import mitigated

    artifact = open_model(base)
    dataset = load_dataset(data) if isinstance(data, str) else data_of(artifact) if data is None else data
    return mitigated(artifact, dataset, method=method, by=by, seed=seed, **options)


def compare(
    base: Model,
    recipes: Sequence[str] | Mapping[str, str | Model],
    *,
    data: Dataset | str | None = None,
    by: Sequence[str],
    positive: str | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
    seed: int | None = None,
    placebos: bool = True,
    runtime: str = "onnxruntime",
    say: Callable[[str], None] | None = None,
) -> Compared:
    """Compress a model by several recipes, run all files on the test rows, audit them, and return one table.

    Parameters
    ----------
    base
        A model folder or artifact, whose float weights are at hand.
    recipes
        Recipes; or name → recipe, or an artifact or model folder that was made before.
    data
        A dataset or its name, found from the card if not given.
    by, positive, margin, confidence
        As in `audit`.
    placebos
        Whether recipes that train get their control beside them: the same training with nothing compressed.
    runtime
        What runs all models.

    Raises
    ------
    UserError
        A recipe is none, two models have one name, or the data does not fit.
    """
    from fairpress.compression.recipes import parse
    from fairpress.reporting.compared import Compared

    if isinstance(recipes, str):
        raise UserError(f"give a list of recipes, such as [{recipes!r}].")
    named = dict(recipes) if isinstance(recipes, Mapping) else {str(parse(r)): r for r in recipes}
    if not named:
        raise UserError("name at least one recipe, such as ['int8'].")
    origin = open_model(base)
    first = str(origin.card.recipe)
    texts = {name: parse(r) for name, r in named.items() if isinstance(r, str) and not Path(r).is_dir()}
    made = [n for n, r in texts.items() if not r.steps]
    if first in named or made:
        raise UserError(
            f"{(made or [first])[0]!r} is the baseline itself, which stands in the table already."
        )
    if placebos:
        controls = {str(p): p for r in texts.values() if (p := r.placebo()) is not None}
        texts |= {name: p for name, p in controls.items() if name not in named}
    dataset = data_of(origin) if data is None else load_dataset(data) if isinstance(data, str) else data
    models: dict[str, Artifact] = {first: origin}
    for name in (*named, *(n for n in texts if n not in named)):
        if name in texts:
            if say is not None:
                say(f"{name}:")
            models[name] = compress(origin, str(texts[name]), data=dataset, seed=seed, say=say)
        else:
            models[name] = open_model(named[name])
    table = predict(models, dataset, runtime=runtime)
    found = audit(
        table,
        baseline=first,
        by=by,
        positive=positive or dataset.task.positive,
        margin=margin,
        confidence=confidence,
    )
    return Compared(found, {name: artifact.size for name, artifact in models.items()})


def predict(
    models: Mapping[str, Model],
    data: Dataset | str | None = None,
    *,
    part: Part | Literal["all"] = "test",
    model_config: str | os.PathLike[str] | None = None,
    runtime: str | Mapping[str, str] = "onnxruntime",
    threads: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> pa.Table:
    """Return the predictions table of models on a dataset's test rows, or another part.

    A model is an artifact, a model folder, or an ``.onnx`` file made elsewhere; for the latter `data` must be given, and
    `model_config` may name the YAML that says what the file does not (`runtime.foreign_config`).

    Parameters
    ----------
    runtime
        What runs the models (`runtime.runtimes.RUNTIMES`): one for all, or model → runtime. A path may say it too:
        ``{"ov": "int8/@openvino"}``. The table's metadata records it.
    threads
        Threads within an operator.
    progress
        Told the model, the rows done and the rows there are.
    """
    from fairpress.runtime.predict import predictions
    from fairpress.runtime.runtimes import DEFAULT, choose

    if not models:
        raise UserError("name at least one model, such as fp32=base/.")
    if not isinstance(runtime, str) and (unknown := set(runtime) - set(models)):
        raise UserError(
            f"`runtime` speaks of {min(unknown)!r}, which is no model here."
            + did_you_mean(min(unknown), models)
        )
    places, runtimes = {}, {}
    for name, model in models.items():
        places[name], said = split_model(model)
        asked = runtime if isinstance(runtime, str) else runtime.get(name, DEFAULT)
        runtimes[name] = choose(said or asked, threads=threads)
    dataset = load_dataset(data) if isinstance(data, str) else data
    if dataset is None:
        first = next(iter(places.values()))
        if is_foreign(first):
            raise UserError(
                f"{first} was made elsewhere and does not say what data it reads; name them with --data."
            )
        dataset = data_of(open_model(first))
    opened = {name: open_any(model, dataset, model_config) for name, model in places.items()}
    table = predictions(opened, dataset, part, runtimes=runtimes, progress=progress)
    return table.replace_schema_metadata(
        {**(table.schema.metadata or {}), "fairpress.models": "\n".join(opened)}
    )


def bench(
    models: Sequence[Model] | Mapping[str, Model],
    *,
    runtime: str | Sequence[str] = "onnxruntime",
    batch: int | Sequence[int] | None = None,
    threads: int = 1,
    provider: str = "CPU",
    rounds: int | None = None,
    seconds: float = 20.0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Bench:
    """Measure size, time and memory of models side by side; the first is what the others are compared with.

    A model is an artifact, a model folder, or an ``.onnx`` file with one input of known shape. They are given validation
    rows where the data is on this machine, else random numbers.

    Parameters
    ----------
    models
        The models, or name → model.
    runtime
        One or several of `runtime.runtimes.RUNTIMES`; each model runs on each, or on the one its path names.
    batch
        Rows of a call; by default 1 and 32, and 1,000 for tables.
    threads
        Threads within an operator.
    provider
        Execution provider of ONNX Runtime.
    rounds
        How often each is timed; by default as often as `seconds` (a batch size) allow, 7 … 101 times.
    progress
        Told what is timed, the rounds done and the rounds there are.

    Raises
    ------
    UserError
        A model, runtime or number is not what it must be, or a model cannot be run; the sentence names it.
    """
    from fairpress.runtime.bench_all import bench_all
    from fairpress.runtime.contestants import Entry
    from fairpress.runtime.runtimes import RUNTIMES, choose

    named = models if isinstance(models, Mapping) else _named(models)
    if not named:
        raise UserError("name at least one model, such as base/.")
    everywhere = [runtime] if isinstance(runtime, str) else list(dict.fromkeys(runtime))
    if not everywhere:
        raise UserError(f"name at least one runtime: {', '.join(RUNTIMES)}.")
    entries = []
    for name, model in named.items():
        place, said = split_model(model)
        chosen = [choose(r, threads=threads, provider=provider) for r in ([said] if said else everywhere)]
        if isinstance(place, Artifact) or not is_foreign(place):
            artifact = open_model(place)
            entries.append(Entry(name, artifact.onnx, artifact.card, tuple(chosen)))
        else:
            entries.append(Entry(name, _read_onnx(Path(place)), None, tuple(chosen)))
    sizes = [batch] if isinstance(batch, int) else batch
    return bench_all(entries, sizes, rounds=rounds, seconds=seconds, progress=progress)


def _named(models: Sequence[Model]) -> dict[str, Model]:
    """Name models after their folders, or their whole paths where two folders share a name."""
    places = [split_model(m)[0] for m in models]
    short = [
        f"model {i + 1}" if isinstance(p, Artifact) else Path(p).name.removesuffix(".onnx")
        for i, p in enumerate(places)
    ]
    if len(set(short)) < len(short):
        short = [s if isinstance(m, Artifact) else os.fspath(m) for s, m in zip(short, models, strict=True)]
    named = dict(zip(short, models, strict=True))
    if len(named) < len(models):
        raise UserError("a model is named twice; name each once.")
    return named


def _read_onnx(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror or error}).") from None


def split_model(model: Model) -> tuple[Model, str | None]:
    """Return the model and the runtime that its path names, as in ``int8/@openvino``."""
    from fairpress.runtime.runtimes import split_suffix

    return (model, None) if isinstance(model, Artifact) else split_suffix(os.fspath(model))


def is_foreign(model: Model) -> bool:
    """Return whether this is an ONNX file and no model folder."""
    place, _ = split_model(model)
    return not isinstance(place, Artifact) and Path(place).suffix.lower() == ".onnx"


def open_any(
    model: Model, dataset: Dataset, model_config: str | os.PathLike[str] | None = None
) -> Artifact | Foreign:
    """Return what a model is run by: its artifact, or an ONNX file made elsewhere, opened for this dataset."""
    from fairpress.runtime.foreign import open_foreign

    if isinstance(model, Artifact) or not is_foreign(model):
        return open_model(model)
    return open_foreign(model, dataset, model_config)


def open_model(model: Model) -> Artifact:
    """Return the artifact of a model folder, or the artifact itself."""
    return model if isinstance(model, Artifact) else Artifact.load(model)


def data_of(artifact: Artifact) -> Dataset:
    """Load the dataset a card names; raise UserError when it is not the data the model was trained on."""
    spec = artifact.card.data
    dataset = load_dataset(str(spec["name"]), **dict(spec["config"]))
    if dataset.fingerprint != spec["fingerprint"]:
        raise UserError(
            f"{spec['name']!r} is not what this model was trained on (the content or the split differs): its test rows "
            "may have been trained on. Train again, or restore the data."
        )
    return dataset


def write_table(path: str | os.PathLike[str], table: pa.Table) -> None:
    """Write a table as Parquet, whole or not at all; raise UserError when the place cannot be written."""
    import pyarrow.parquet as pq

    target = Path(path)
    temporary = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, temporary)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True) if target.parent.is_dir() else None
        raise UserError(f"cannot write {target} ({error.strerror or error}); choose another place.") from None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file, whole or not at all. Raises UserError when the place cannot be written."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True) if target.parent.is_dir() else None
        raise UserError(f"cannot write {target} ({error.strerror or error}); choose another place.") from None


def _written(path: str | os.PathLike[str] | None, text: str) -> str:
    if path is not None:
        write_text(path, text)
    return text


def _models_of(table: Any) -> list[str]:
    metadata = getattr(getattr(table, "schema", None), "metadata", None) or {}
    text = metadata.get(b"fairpress.models", b"").decode()
    return text.split("\n") if text else []
