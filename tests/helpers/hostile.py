"""A study and a model whose every name means harm to who shows it."""

from __future__ import annotations

import json

from study_folders import make_model, make_study

HIT = "fetch('hit')"  # what a script does that runs: the server is asked for an address that ends so
SCRIPT = f"<script>{HIT}</script>"
IMAGE = f'"><img src=x onerror="{HIT}">'
CLOSING = f"</script></style></title></textarea><script>{HIT}</script>"
ADDRESS = f"javascript:{HIT}"
TEMPLATE = "{{7*7}}${7*7}<%= 7*7 %>"
TURNED = "\u202egpj.exe\u2066\u200b\ufeff"  # the letters after the first are read from right to left
QUOTES = 'it\'s "quoted" `so` \\ \\u003c &amp; %2e%2e'
LINES = "one\ntwo\r\nthree\tfour"
LONG = "x" * 290 + "👩\u200d🔬émoji"
FOLDER = f'"><img src=x onerror={HIT}>\n\\%2e%2e?#👩\u200d🔬'
FILE = f'"; x="\n{SCRIPT.replace("/", "")}\u202egpj.svg'

RECIPES = ("fp32", f"{SCRIPT}{TEMPLATE}{QUOTES}{LINES}", f"{IMAGE}{CLOSING}{TURNED}{LONG}")
GROUP = f"{IMAGE}{SCRIPT}{TEMPLATE}{TURNED}{QUOTES}{LINES}{LONG}"
ATTRIBUTE = f"{CLOSING}{QUOTES}{TURNED}"
CLASSES = (f"no{SCRIPT}{TURNED}", f"yes{IMAGE}{CLOSING}")
DATASET = f"{SCRIPT}, {IMAGE}"
MODEL = f"{IMAGE}{LINES}"
NAME = f"{CLOSING}{IMAGE}{TEMPLATE}{TURNED}{LONG}"
PART = f"{DATASET}, {MODEL}"


def make_hostile(root):
    """Write a study, finished and in progress at once, and a model."""
    study = root / FOLDER
    make_study(
        study,
        name=NAME,
        group=GROUP,
        recipes=RECIPES,
        attribute=ATTRIBUTE,
        classes=CLASSES,
        part=(PART, DATASET, MODEL),
        config={"datasets": {DATASET: {}}, "models": {MODEL: {}}},
        warnings=[f"{IMAGE}{SCRIPT}", CLOSING],
    )
    progress = {
        "name": NAME, "command": IMAGE, "total": 3, "done": 1, "failed": 0, "running": [SCRIPT, IMAGE],
        "process": 1, "host": SCRIPT, "started": 1.0, "updated": 1.0,
    }  # fmt: skip
    (study / "progress.json").write_text(json.dumps(progress))
    (study / "report.html").write_text(f"<h1>Report</h1>{SCRIPT}{IMAGE[2:]}")
    (study / "figures" / FILE).write_text(f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>")
    model = root / "models" / FOLDER
    make_model(model)
    card = {"recipe": IMAGE, "target": CLOSING, SCRIPT: TURNED, "inputs": {IMAGE: [SCRIPT, CLOSING]}}
    (model / "card.json").write_text(json.dumps(card))
    (model / FILE).write_text("x")
    return study
