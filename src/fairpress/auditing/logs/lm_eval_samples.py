"""The lines of samples that lm-evaluation-harness wrote: what the first ones tell, and one line per item of a model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fairpress.auditing.cells.table_readers import text_literal
from fairpress.auditing.logs.attribute_fields import Fields
from fairpress.auditing.logs.json_lines import JsonLines
from fairpress.auditing.logs.lm_eval_files import ModelFiles
from fairpress.auditing.logs.lm_eval_metrics import choose_filters
from fairpress.core.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

SAME = {"doc": "other documents", "prompt": "other prompts", "target": "other targets"}
"""What must be the same for all models, and what it is called where it is not."""
_HEAD_LINES = 50


@dataclass(frozen=True)
class LogHead:
    """The first lines of the log of each task."""

    by_task: Mapping[str, Sequence[Mapping[str, Any]]]

    @classmethod
    def of(cls, files: ModelFiles) -> LogHead:
        reader = JsonLines([f.path for f in files.tasks])
        heads = {f.task: reader.head(f.path, _HEAD_LINES) for f in files.tasks}
        for file in files.tasks:
            if not heads[file.task] or "doc_id" not in heads[file.task][0]:
                raise UserError(
                    f"{file.path} is not a log of lm-evaluation-harness: its lines have no doc_id; name the samples_….jsonl "
                    "that `lm_eval --log_samples` wrote."
                )
        return cls(heads)

    def samples(self) -> Iterator[Mapping[str, Any]]:
        return (sample for head in self.by_task.values() for sample in head)

    @property
    def multiple_choice(self) -> bool:
        """Whether every task has the log-likelihoods of several answers."""
        return all(_answers(head[0]) > 1 for head in self.by_task.values())

    def sampled(self) -> list[str]:
        """Return the tasks whose answers were drawn at random."""
        return [task for task, head in self.by_task.items() if _is_sampled(head[0].get("arguments"))]


def _answers(sample: Mapping[str, Any]) -> int:
    answers = sample.get("filtered_resps")
    pairs = isinstance(answers, list) and all(
        isinstance(a, list) and len(a) == 2 and str(a[1]) in ("True", "False") for a in answers
    )
    return len(answers) if pairs and isinstance(answers, list) else 0


def _is_sampled(arguments: Any) -> bool:
    first = next(iter(arguments.values()), None) if isinstance(arguments, Mapping) else None
    settings = first.get("arg_1") if isinstance(first, Mapping) else None
    return isinstance(settings, Mapping) and settings.get("do_sample") is True


def item_names(table: pa.Table) -> pa.Array:
    """Return the name of each item, ``task/doc_id``."""
    import pyarrow.compute as pc

    names: pa.Array = pc.binary_join_element_wise(table["task"], table["doc_id"], "/").combine_chunks()
    return names


def read_items(
    files: ModelFiles,
    metric: str,
    chosen: str | None,
    fields: Fields | None,
    with_choices: bool,
    hashed: bool,
) -> pa.Table:
    """Return one line per item of a model: keys, what must be the same, the metric's value, and fields of the document."""
    import pyarrow as pa

    keys = {"doc_id": "VARCHAR", "filter": "VARCHAR", "target": "VARCHAR", metric: "VARCHAR", "doc": "JSON"}
    keys |= {f"{part}_hash": "VARCHAR" for part in SAME} | {"arguments": "JSON", "filtered_resps": "JSON"}
    k = {key: f"k{i}" for i, key in enumerate(keys)}
    select = {
        "file": "file",
        "doc_id": k["doc_id"],
        "filter": f"coalesce({k['filter']}, 'none')",
        "target": k["target"],
        "content": f"hash({k['doc']}::VARCHAR)",
        "doc_hash": k["doc_hash"],
        "prompt_hash": k["prompt_hash"] if hashed else f"hash({k['arguments']}::VARCHAR)",
        "target_hash": k["target_hash"],
        "value": k[metric],
    }
    if with_choices:
        select["answers"] = f"TRY_CAST({k['filtered_resps']} AS VARCHAR[][])"
    if fields is not None:
        if with_choices:
            select["choices"] = f"json_extract_string({k['arguments']}, '$.*.arg_1')"
        for name, key in fields.columns.items():
            select[f"field {name}"] = f"json_extract_string({k['doc']}, {_pointer(key)})"
    used = " ".join(select.values())
    unused = [key for key, kind in keys.items() if kind == "JSON" and k[key] not in used]
    reader = JsonLines([f.path for f in files.tasks])
    table = reader.read(keys | dict.fromkeys(unused, "VARCHAR"), select)
    task_of = {os.path.abspath(f.path): f.task for f in files.tasks}
    encoded = table["file"].combine_chunks().dictionary_encode()
    of_files = [task_of[os.path.abspath(p)] for p in encoded.dictionary.to_pylist()]
    tasks = pa.array(of_files, pa.string()).take(encoded.indices)
    table = table.set_column(0, "task", tasks)
    return _one_filter(table, files.model, chosen)


def _pointer(key: str) -> str:
    """Return the SQL text of a JSON pointer to a key."""
    return text_literal("/" + key.replace("~", "~0").replace("/", "~1"))


def _one_filter(table: pa.Table, model: str, chosen: str | None) -> pa.Table:
    """Return the lines of one filter per task."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pairs = table.select(["task", "filter"]).group_by(["task", "filter"], use_threads=False).aggregate([])
    by_task: dict[str, list[str]] = {}
    for task, name in zip(pairs["task"].to_pylist(), pairs["filter"].to_pylist(), strict=True):
        by_task.setdefault(task, []).append(name)
    filters = choose_filters(by_task, chosen)
    if all(len(names) == 1 for names in by_task.values()):
        return table
    names = pa.array(list(filters)), pa.array(list(filters.values()))
    expected = names[1].take(pc.index_in(table["task"], value_set=names[0]))
    return table.filter(pc.equal(table["filter"], expected))
