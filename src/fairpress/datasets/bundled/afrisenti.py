"""AfriSenti: the sentiment of tweets in twelve African languages (Muhammad et al. 2023, EMNLP)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import field_validator, model_validator

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.progress import OnMessage
from fairpress.datasets.assemble import assemble
from fairpress.datasets.dataset import Dataset, Part, Task
from fairpress.datasets.download.sources import SourceFile, find
from fairpress.datasets.splits import SplitOptions
from fairpress.datasets.texts.inputs import Texts
from fairpress.datasets.texts.repeated import across_parts_note, text_numbers
from fairpress.datasets.texts.scripts import main_scripts

COMMIT = "5aec3cfcf87b59f885e98641f72e52182776429d"
ADDRESS = f"https://github.com/afrisenti-semeval/afrisent-semeval-2023/archive/{COMMIT}.zip"
LANGUAGES = {
    "am": "Amharic",
    "dz": "Algerian Arabic",
    "ha": "Hausa",
    "ig": "Igbo",
    "kr": "Kinyarwanda",
    "ma": "Moroccan Arabic",
    "pcm": "Nigerian Pidgin",
    "pt": "Mozambican Portuguese",
    "sw": "Swahili",
    "ts": "Xitsonga",
    "twi": "Twi",
    "yo": "Yoruba",
}
SHA256 = {
    ("am", "train"): "f30e5bd83ee7fb3113f3e7bc298b0244f2f580dd535291a6d62e364127c1dae5",
    ("dz", "train"): "3555a7cec6bf04c6ad3dfbbe3bf5b5896f727cd17932720fdc1a61bad10cd75f",
    ("ha", "train"): "efd666277c022d4dd15e0e256a13f66a71b6a4d351de2a9d8fc4c2778c5217f4",
    ("ig", "train"): "775e3cd40c6120a5947bf639f5469d3451511d887e43f94b236538a9d4cf9a63",
    ("kr", "train"): "6b3f5ed4e57557e6b0efc87d393cea57b854af1f0e15209f6567253370512a55",
    ("ma", "train"): "82bf435e29292a4d91cf292b982650ea0762b4397260f803d6c6a78edd26ebe7",
    ("pcm", "train"): "178067ec13536940804c3fa37c326287ab8f3caa6d4766c8d6f4a16a7863dfb5",
    ("pt", "train"): "08fd9da6091ecfe1f1d65f607c10052a5ac6079e89c0829e8be1b58ab1615074",
    ("sw", "train"): "1f06cb668d1c115a844704b5ffaec3e6168eabf1bd15657e3faf99a42e682152",
    ("ts", "train"): "b03026abb18f5daa5ba7899beb9e896b8a3b073d05bfd107c677bc26e437a8e4",
    ("twi", "train"): "95401bf538f2208bc1caed435ccb3a8c282144abfc0d7f31b0a7e05f995bb9a1",
    ("yo", "train"): "f5e7e332051af19fadba3fa887e4d1cfb151de19fe1e9af765441235c68ea776",
    ("am", "dev"): "1b2d253623d8a76689f2120e0942832025ce217748c349ca52b8725f8f209071",
    ("dz", "dev"): "3c7d34726a86fcd4c96d9c57e4c38ba4cbe39285fe9e4eeeddb65369dfba2729",
    ("ha", "dev"): "88e45573e543728b0ae92971d1294f768c7617f83f792e895d2b3e083c8ad983",
    ("ig", "dev"): "b9ea3324b0ca5fc165862d0f23132a8fe066b2612a285c2f26aca5c0c070423e",
    ("kr", "dev"): "e440470efcd6e53e39745f04dacb2b679c1ac99748f549a54dfafdfd763f937f",
    ("ma", "dev"): "745ff30142f6362f22820d7a021feae46f4b85dfd0ca2cd55e934653acdc7e92",
    ("pcm", "dev"): "4068829920965d520343c8921008b7beefa59563a929e41a8eaf2aa2681d1d1d",
    ("pt", "dev"): "db5b19fa676944777107d7e888d5e798dc3e676e457f8d19281cc1dbde30b0d1",
    ("sw", "dev"): "c9f2cc725630b1b3e6a46c9a56b1c45676275df22e57355c46a43bead09306c0",
    ("ts", "dev"): "a66b0628c8a961f11a05954517273c46598fb2b26da2c88df1845f572e231068",
    ("twi", "dev"): "bf710d049e14d269d0a0213fffb505db59de1ed4b845ab0747768aad9a70e978",
    ("yo", "dev"): "69f63d070863ed0fd6aad8fd90c8df86a0188af00b28db21784e961804b7227f",
    ("am", "test"): "284fe0332f2b18fdd39b91e3678cb5f73e183c17e31bd9253941ccce43db285b",
    ("dz", "test"): "cf41ac4b0f71be98e03deb39a68a745ce78601b33a50e080fc9cb1082bde974a",
    ("ha", "test"): "68e2f588e91d0d4374d2e521a77fa7016718accea0c1c2e74905f9fe9339b1d6",
    ("ig", "test"): "c93378df9bc53d301f34d2bdd89abdbc29f72bed3d86cc53ca15259e83bba6cf",
    ("kr", "test"): "094a9e29d0b155ec179e01898ca188e8ba4e8003bb231043d8d0a2a91501222f",
    ("ma", "test"): "bd0276b85cf3a7f87518ac0974b20467f94bb45fedf0b405afc737b9f70fb468",
    ("pcm", "test"): "3dbc11358da8698275fb3ea344d16e03dca24ec43e7f7c344676f678262877dc",
    ("pt", "test"): "619d3bcd916b64cba9f3a45e9eae63a488b173e5546e3f2624f8f344eaab16a5",
    ("sw", "test"): "874877b294b8400dbe098fa5785da690dcb99f857275c3a23bf835174d2194bf",
    ("ts", "test"): "4e55bfd850459ca0ea5f48d29b6e2096af5e60e99f7ade5737e14d4583aabf8e",
    ("twi", "test"): "d3f49ce23ba37db60b55e699e10a34906c8f53fd7389b161ac21d9c4512b9760",
    ("yo", "test"): "b483794725d7adf9c952ec198e48be437fb59e82be2d230fc7e88b55007cb971",
}
PARTS: dict[str, Part] = {"train": "train", "dev": "validation", "test": "test"}
HEADER = "ID\ttweet\tlabel"
CLASSES = ("negative", "neutral", "positive")
NOTES = (
    f"Source: AfriSenti, SemEval-2023 task 12 A (Muhammad et al. 2023, doi:10.18653/v1/2023.emnlp-main.862) at commit "
    f"{COMMIT[:8]}, CC BY 4.0: tweets, labeled by native speakers.",
    "The files name no authors: each tweet is its own subject, and one person's tweets may be in training and in test rows.",
    "Texts are as in the files: names are replaced by @user, and some tweets have doubled quotation marks.",
)
LANGUAGE_NOTES = {
    ("Amharic",): (
        "The official Amharic parts differ: 26 % of the training tweets are negative, and 67 % of the test tweets; and each "
        "test tweet, but no training tweet, stands in single quotation marks."
    ),
    ("Hausa", "Igbo", "Yoruba"): (
        "@user is in nearly all official training tweets in Hausa, in 68 % of those in Igbo and in 44 % of those in Yoruba, "
        "and in no test tweet in these languages."
    ),
}


def _file(part: str, code: str, sha256: str) -> SourceFile:
    name = f"{part}/{code}_{part}.tsv"
    member = f"afrisent-semeval-2023-{COMMIT}/SubtaskA/{name}"
    return SourceFile(path=f"afrisenti/{name}", sha256=sha256, address=ADDRESS, member=member)


FILES = {(code, part): _file(part, code, sha256) for (code, part), sha256 in SHA256.items()}


class Afrisenti(SplitOptions):
    """Options of `afrisenti`.

    The official parts: dev is the validation part, and calibration is taken from train. With folds or a test share, equal
    texts stay in one part. Sensitive attributes: language, and script, that of most of a tweet's letters (Moroccan Arabic is
    written in Arabic and in Latin letters). Three classes, none of them positive in the sense of rates.

    Attributes
    ----------
    languages
        Names or codes of the languages to read; by default all twelve.
    repeated_texts
        ``"keep"``: the official rows; ``"drop"``: without the training rows whose text is in validation or test too, and
        the validation rows whose text is in test too. Without folds or a test share only.
    """

    files: ClassVar[tuple[SourceFile, ...]] = tuple(FILES.values())

    languages: tuple[str, ...] = tuple(LANGUAGES.values())
    repeated_texts: Literal["keep", "drop"] = "keep"

    @field_validator("languages", mode="before")
    @classmethod
    def _languages_are_known(cls, value: object) -> tuple[str, ...]:
        listed = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
        if not listed:
            raise ValueError("list at least one language, such as `languages: [Hausa, Yoruba]`")
        names = {key.casefold(): name for code, name in LANGUAGES.items() for key in (code, name)}
        for language in listed:
            if str(language).casefold() not in names:
                known = did_you_mean(str(language), LANGUAGES.values())
                raise ValueError(f"{language!r} is not a language of afrisenti.{known}".rstrip("."))
        chosen = {names[str(language).casefold()] for language in listed}
        return tuple(name for name in LANGUAGES.values() if name in chosen)

    @model_validator(mode="after")
    def _official_parts_are_kept(self) -> Afrisenti:
        if self.repeated_texts == "drop" and self._draws_test_rows():
            raise ValueError(
                "`repeated_texts` is about the official parts; `folds` and `test_share` keep equal texts in one part anyway"
            )
        return self

    def attribute_names(self) -> tuple[str, ...]:
        """Return the sensitive attributes, without reading the data."""
        return ("language", "script")

    def read(self, on_message: OnMessage) -> Dataset:
        """Read the files and return the dataset; raises UserError when a file is nowhere."""
        chosen = [key for key in FILES if LANGUAGES[key[0]] in self.languages]
        rows, languages, parts = [], [], []
        for (code, part), path in zip(chosen, find([FILES[key] for key in chosen], on_message), strict=True):
            read = _rows(path)
            rows += read
            languages += [LANGUAGES[code]] * len(read)
            parts += [PARTS[part]] * len(read)
        ids, texts, labels = (list(column) for column in zip(*rows, strict=True))
        part_of, language, same = np.array(parts), np.array(languages), text_numbers(texts)
        notes = [
            *NOTES,
            *(note for concerned, note in LANGUAGE_NOTES.items() if set(concerned) & set(self.languages)),
        ]
        keep = np.arange(len(rows))
        if self.repeated_texts == "drop":
            keep, note = _without_repeated(same, part_of)
        elif self._draws_test_rows():
            note = "Tweets with equal texts are in one part."
        else:
            note = across_parts_note(same, part_of, language)
        notes.append(note)
        kept = [texts[i] for i in keep.tolist()]
        row_ids = np.array(ids)[keep]
        return assemble(
            name="afrisenti",
            task=Task("sentiment", CLASSES, None),
            inputs=Texts(kept),
            labels=np.array([CLASSES.index(label) for label in labels], dtype=np.int64)[keep],
            attributes={"language": language[keep], "script": main_scripts(kept)},
            subjects=row_ids,
            row_ids=row_ids,
            options=self,
            official={part: np.flatnonzero(part_of[keep] == part) for part in PARTS.values()},
            split_by=self._units(same, part_of)[keep],
            notes=tuple(notes),
        )

    def _draws_test_rows(self) -> bool:
        return self.folds > 1 or self.test_share is not None

    def _units(self, same: np.ndarray, part_of: np.ndarray) -> np.ndarray:
        """Return what stays in one part where parts are drawn: equal texts, those of an official part apart."""
        texts = np.char.mod("%d", same)
        if self._draws_test_rows():
            return texts
        return np.char.add(np.char.add(part_of, " "), texts)


def _without_repeated(same: np.ndarray, part_of: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the rows whose text is in no later official part, and a note on the others."""
    test, validation = (same[part_of == part] for part in ("test", "validation"))
    later = {"train": np.union1d(test, validation), "validation": test}
    drop = {part: (part_of == part) & np.isin(same, texts) for part, texts in later.items()}
    note = (
        f"{int(drop['train'].sum()):,} training and {int(drop['validation'].sum()):,} validation tweets are left out, whose "
        "texts are also in a later official part."
    )
    return np.flatnonzero(~(drop["train"] | drop["validation"])), note


def _rows(path: Path) -> list[tuple[str, str, str]]:
    """Return id, tweet and label of each line. Quotation marks are characters like any other."""
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    rows = [tuple(line.split("\t")) for line in lines[1:]]
    for number, row in enumerate(rows, start=2):
        if len(row) != 3 or row[2] not in CLASSES or not row[1].strip():
            raise UserError(
                f"{path}: line {number} is not id, tweet and label; remove the file to fetch it again."
            )
    if lines[0] != HEADER:
        raise UserError(f"{path} does not begin with ID, tweet, label; remove it to fetch it again.")
    return rows  # type: ignore[return-value]
