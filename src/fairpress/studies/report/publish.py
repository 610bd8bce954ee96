"""Export a finished study for papers and releases: LaTeX, CSV, figures in other formats, model cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from fairpress.core.errors import MissingExtra, UserError, did_you_mean
from fairpress.reporting import csv_export, latex, model_card
from fairpress.reporting.formatting import size
from fairpress.studies.report.manifest import read_study
from fairpress.studies.report.result import StudyResult
from fairpress.studies.report.write_folder import slug, write

FIGURE_FORMATS = ("svg", "pdf", "png")


def figure_formats(text: str) -> list[str]:
    """Return the figure formats in a comma-separated text.

    Raises UserError for an unknown format, and MissingExtra for one that an absent package writes.
    """
    formats = [f.strip().lower() for f in text.split(",") if f.strip()]
    for form in formats:
        if form not in FIGURE_FORMATS:
            raise UserError(
                f"`figures=` takes {', '.join(FIGURE_FORMATS)}, not {form!r}."
                + did_you_mean(form, FIGURE_FORMATS)
            )
        if form != "svg" and find_spec("vl_convert") is None:
            raise MissingExtra("A figure as PDF or PNG", "charts")
    return formats


def as_latex(result: StudyResult) -> str:
    """Return the tables of the study, of its claims, and of all its audits."""
    return "\n".join(
        [
            latex.render_study(result.tables, result.claims, result.source),
            *(latex.render(section.audit) for section in result.sections),
        ]
    )


def as_csv(result: StudyResult) -> dict[str, str]:
    """Return file name → CSV: all rates, gaps and losses, and the claims if there are any."""
    files = {"audits.csv": csv_export.audits_csv([(s.title, s.audit) for s in result.sections])}
    if result.claims:
        files["claims.csv"] = csv_export.claims_csv(result.claims)
    return files


def figures(result: StudyResult, formats: Sequence[str]) -> list[Path]:
    """Write every figure of the study's folder in other formats, without a browser; return the paths written."""
    import vl_convert as vlc

    draw = {"pdf": lambda svg: vlc.svg_to_pdf(svg), "png": lambda svg: vlc.svg_to_png(svg, scale=2)}
    drawn = {}
    for file in sorted((result.folder / "figures").glob("*.svg")):
        svg = file.read_text(encoding="utf-8")
        for form in formats:
            if form in draw:
                drawn[f"figures/{file.stem}.{form}"] = draw[form](svg)
    write(result.folder, drawn, prune=False)
    return [result.folder / name for name in drawn]


def cards(result: StudyResult, data: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return folder name → README.md of every baseline and compressed model, in the format of Hugging Face.

    `data` maps the label of a part to the name of its dataset and its Hugging Face task. Rates are means over all networks
    of a recipe; for a single network see its card.json.
    """
    sizes = {m.name: m for m in result.models}
    texts = {}
    for planned, section in zip(result.planned, result.sections, strict=True):
        if planned.about != "compressed":
            continue
        label = planned.part.label
        dataset, task = data.get(label, ("", "tabular-classification"))
        for model in section.audit.models:
            facts = {"recipe": model.name}
            sizes_of_model = sizes.get(": ".join(filter(None, [label, model.name])))
            if sizes_of_model is not None:
                facts["file"] = f"{size(sizes_of_model.bytes)}, gzipped {size(sizes_of_model.gzip_bytes)}"
            name = slug(f"{model.name} {label}")
            texts[name] = model_card.model_card(
                section.audit, model.name, dataset=dataset, task=task, facts=facts
            )
    return texts


def datasets_of(result: StudyResult) -> dict[str, tuple[str, str]]:
    """Return the label of a part → its dataset's name and task, from study.json and the registry of architectures."""
    from fairpress.models.registry import architectures_for

    config = read_study(result.folder).config
    images = set(architectures_for("images"))
    datasets = {}
    for part in (p.part for p in result.planned):
        name = config.all_datasets[part.dataset].name
        is_image = config.all_models[part.model].name in images
        datasets[part.label] = Path(name).stem, f"{'image' if is_image else 'tabular'}-classification"
    return datasets
