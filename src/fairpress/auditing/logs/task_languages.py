"""Languages from the names of tasks: xnli_sw, afrimgsm_direct_amh, belebele_amh_Ethi."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# ISO 639-1, and the three-letter codes that FLORES-200, Belebele and the AfroBench tasks use.
_TWO = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el "
    "en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu "
    "ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na "
    "nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so "
    "sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
_THREE = (
    "ace acm acq aeb afr ajp aka als amh apc arb ars ary arz asm ast awa ayr azb azj bak bam ban bel bem ben bho "
    "bjn bod bos bug bul cat ceb ces cjk ckb cmn crh cym dan deu dik dyu dzo ell eng epo est eus ewe fao fas fij "
    "fin fon fra fry fur fuv gaz gla gle glg grn guj hat hau heb hin hne hrv hun hye ibo ilo ind isl ita jav jpn "
    "kab kac kam kan kas kat kaz kbp kea khk khm kik kin kir kmb kmr knc kon kor lao lij lim lin lit lmo ltg ltz "
    "lua lug luo lus lvs mag mai mal mar min mkd mlt mni mos mri mya nld nno nob npi nso nus nya oci orm ory pag "
    "pan pap pbt pes plt pol por prs quy ron run rus sag san sat scn shn sin slk slv smo sna snd som sot spa srd "
    "srp ssw sun swa swe swh szl tam taq tat tel tgk tgl tha tir tpi tsn tso tuk tum tur twi tzm uig ukr umb urd "
    "uzn vec vie war wol xho ydd yor yue zho zsm zul"
)
CODES = frozenset(f"{_TWO} {_THREE}".split())
_SUFFIX = re.compile(
    r"(?P<family>.+)_(?P<code>(?P<language>[A-Za-z]{2,3})([-_](?P<script>[A-Z][a-z]{3}|[A-Z]{2}))?)"
)


@dataclass(frozen=True)
class TaskLanguages:
    """The language of each task, and the families of tasks that they were derived from, such as ``xnli``."""

    by_task: dict[str, str]
    families: tuple[str, ...]


def task_languages(tasks: Sequence[str]) -> TaskLanguages | None:
    """Return the languages of tasks; None unless every task ends in the code of one, and each family has several.

    A family is the tasks whose names differ in the code alone.
    """
    by_task: dict[str, str] = {}
    families: dict[str, int] = {}
    for task in tasks:
        match = _SUFFIX.fullmatch(task)
        if match is None or match["language"].lower() not in CODES:
            return None
        by_task[task] = match["code"]
        families[match["family"]] = families.get(match["family"], 0) + 1
    if not families or min(families.values()) < 2:
        return None
    return TaskLanguages(by_task, tuple(families))
