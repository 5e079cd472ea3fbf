"""Generate the bundled sample: `python -m training.sample.generate` writes the same file again.

Sentences are composed from the word lists below. The severity does not depend on single words but
on the target, the strength and whether the statement is denied (`severity`). Faults of real data
are added in known amounts (`Amounts`).
"""

import csv
import io
import random
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import TypeVar

from training.config import STUDY_LABELS


def _list(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.replace("\n", " ").split("|"))


SELF = _list("aku | aku iki | awakku | aku dhewe | aku saiki")

PERSONS = _list("""
kowe | awakmu | kowe iki | kancamu | tanggaku | adhimu | kakangmu | bosku | ketuane | bendaharane
| wasite | kipere | pelatihe | penyanyine | adminne | moderatore | supire | bakule | juragane
| bocah kuwi | wong kuwi | mase kae | mbake kae | sing nulis iki | sing komentar kae
| cah anyar kae | sing duwe akun iki
""")

GROUPS = _list("""
regu biru | regu ijo | regu kuning | regu tamu | pendukung regu biru | pendukung regu abang
| kelompok sebelah | kelompok loro | kelompok mburi | anggota kelompok sebelah | panitia lomba kae
| panitia kelompok loro | wong-wong blok wetan | wong-wong blok kulon | rombongan bis loro
| rombongan sebelah | gerombolan kae | gerombolan mburi
""")

THINGS = _list("""
sayure | segane | kopine | tehe | wedange | sambele | tempene | baksone | sotone | jajane | rotine
| lagune | filme | bukune | hapene | laptope | sepedhane | motore | dalane | kaline | kebone
| sawahe | lawange | kursine | mejane | klambine | sepatune | tase | cuacane | udane | sinyale
| listrike | banyune | kucinge | pitike | wedhuse | iwake | manuke | kembange | pelemane
| aplikasine | jame | tivine | gawane | payunge | kipase | lampune | pawone | latare | gendhinge
| ceritane | acarane
""")

FAULTS = _list("""
mboseni | njelehi | nyebeli | lemot | ngrepoti | bodho | males | sombong | kemaki | cerewet
| pelit | licik | ngeyel | jirih | keminter | umuk | ceroboh | sembrono | gumedhe | srakah
| plin-plan | kurang ajar
""")
NUM_FAULTS_OF_THINGS = 5  # the first ones also suit a thing

CONTEMPT = _list("""
ora ana gunane | ora ana ajine | mung ngentekake wektu | pantese diguyu wong akeh | utege kothong
| ora pantes diajeni | tukang ngapusi | tukang adu-adu | rai gedhek | ora pantes dirungokake
| mung gawe rusuh | mung numpang urip | asor bebudene | ora duwe utek
""")
NUM_CONTEMPT_OF_THINGS = 3

EXCLUSION = _list("""
kudu dibuwang | kudu disingkirke | aja dienggo maneh | kudu diusir saka kene | kudu ditundhung
| aja diwenehi panggonan | kudu diblokir | kudu diadohi | aja diajak maneh | aja ditulungi
| kudu digawe kapok | kudu dijothak | aja diwenehi pangan | gawenen uripe susah
""")
NUM_EXCLUSION_OF_THINGS = 3

TRAITS = _list("""
sregep | grapyak | apikan | pinter | sabar | jujur | setya | trampil | rajin | ramah | prigel
| loma | lucu | wicaksana | kalem | seneng guyon
""")
QUALITIES = _list("""
enak | gurih | legi | pedhes | seger | larang | murah | apik | anyar | lawas | resik | kandel
| adhem | anget | rame | sepi | amba | rosa | awet | entheng | mambu | teles | garing | padhang
| peteng
""")

VERBS = _list("""
tuku | nggawa | masak | ndandani | maca | nonton | golek | ngrungokake | nyapu | ngumbah | nyilih
| ngedol | nandur | ngresiki | nata | nyetel | motret | nggambar | nyimpen | mbukak | ngirim
| nampa | ngajari | nulis | nyiapake | njaluk | milih | mbungkus | ngecet | ngethok | nggoreng
| nggodhog | njahit | nyirami | ngopeni | ngitung | nyoba | nyewa | ngenteni | nglumpukake
| nggoleki | ndelikake
""")
OBJECTS = _list("""
sega pecel | gudhangan | tahu tempe | jajan pasar | kembang mlathi | buku crita | layangan
| wayang kulit | batik anyar | pari | jagung | lombok | brambang | uyah | gula jawa | klapa
| gedhang | pelem | jambu | sepatu | klambi | jarik | blangkon | payung | tas | hape | laptop
| radhio | gitar | gamelan | kendhang | suling | montor | pit | ban | lampu | kursi | meja
| lemari | pring | kayu | cet | genteng | wit pelem | pitik | wedhus | bebek | kucing | iwak lele
| endhog | susu | kopi | teh anget | es dhawet | cendhol | bubur | lontong | sate | bakmi | krupuk
| rempeyek | getuk | tiwul | onde-onde | klepon | wajik | tugas sekolah | laporan | undhangan
| foto lawas | video masak | kartu pos | karcis | dhuwit receh
""")
LOCATIONS = _list("""
neng pasar | neng sekolahan | neng kantor | neng latar | neng pawon | neng warung | neng lapangan
| neng stasiun | neng terminal | neng kebon | neng sawah | neng toko buku | neng perpustakaan
| neng bale desa | neng omahe simbah | neng pinggir kali | neng prapatan | neng alun-alun
| neng kos | neng bengkel | neng dalan gedhe | neng pos ronda | neng ngarep omah
| neng lantai loro | neng grup WA | neng angkringan | neng puskesmas | neng sanggar | neng gedhong
| neng parkiran
""")
TIMES = _list("""
wingi | mau esuk | mau bengi | sesuk | saiki | minggu wingi | sore iki | bubar udan
| telung dina iki | sasi ngarep | dina Setu | dina Senen | awan-awan | bengi-bengi | wiwit subuh
| nalika prei | taun wingi | sadurunge mangan | sawise latihan | nalika rapat | pas lomba
| sedhela maneh | jam pitu esuk | jam sanga bengi | saben dina | kaping pindho | wayah sore
| akhir pekan iki
""")
KIN = _list("""
ibuku | bapakku | simbah | bulikku | paklikku | mbakyuku | adhiku | kakangku | anakku | bojoku
| budheku | pakdheku | putuku | ponakanku | kanca kosku | kanca kantorku | tangga ngarep
""")

INTENSIFIERS = _list("""
banget | tenan | nemen | pol | temenan | ora jamak | kebangeten | puoool | bangettt | ora umum
""")
URGENCY = _list("saiki uga | selawase | tanpa kajaba | kabeh tanpa sisa | tenanan | dina iki uga")
SOFTENERS = _list("""
rada | kadhang | mbok menawa | kaya-kayane | sajake | sok-sok | menawa ora kleru | rumangsaku rada
""")
DENIALS = _list("""
ora bener yen {} | aja ngarani {} | sapa sing kandha {}? Kleru kuwi | aku ora setuju yen {}
| goroh yen ana sing kandha {} | aja percaya yen {} | jarene {}, jebul ora
| mbiyen takkira {}, tibake ora
""")
FRAMES = _list("""
{} | {} | {} | pancen {} | jan {} | {}, ngono lho | lha kok {} | critane {} | jarene wong-wong {}
| miturutku {} | saben dina {} | wis ketok yen {} | kabeh ngerti yen {} | sing jelas {}
| tak akoni {}
""")
PARTICLES = _list("lho | ya | kok | rek | lha | ki | je | to | mbok | jal")
EMOJI = _list("😂 | 😡 | 🙏 | 😅 | 👍 | 🔥 | 😭 | 🤣 | ☕ | 🌧️")


T = TypeVar("T")

LABELS = STUDY_LABELS
PATH = Path(__file__).with_name("sample.csv")


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How many rows of each kind; shares refer to the first `num_sentences` rows."""

    num_sentences: int = 1880
    class_shares: tuple[float, ...] = (0.5, 0.2, 0.2, 0.1)
    wrong_label: float = 0.06
    wrong_by_one: float = 0.8
    """Share of the wrong labels that are a neighbouring severity."""
    low_confidence: float = 0.04
    error: float = 0.015
    num_equal: int = 60
    """Further rows that repeat an earlier one with other case, punctuation or mentions."""
    num_disagreeing: int = 8
    """How many of these have another label."""
    num_near: int = 40
    """Further rows that repeat an earlier one with a word added or a letter repeated."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row in the columns of the study; every cell is text, empty where unknown."""

    text: str
    original_label: str
    final_label: str
    confidence_score: str
    response_time: str
    labeling_method: str = "generator"
    error: str = ""


class RandomChoices:
    """Random choices by `random.Random.random` alone, which is the same in all Python versions."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self._random() < probability

    def between(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * self._random()

    def one(self, choices: Sequence[T]) -> T:
        """Return one of the choices, all equally likely."""
        return choices[int(self._random() * len(choices))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in random order."""
        keys = [self._random() for _ in items]
        return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__)]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The meaning of a sentence: its target, its predicate and its strength."""

    target: str
    """self, thing, person or group."""
    predicate: str
    """plain, fault, contempt or exclusion."""
    manner: str
    """bare, softened, intensified or denied."""


TARGETS = {
    "self": SELF,
    "thing": THINGS,
    "person": PERSONS,
    "group": GROUPS,
}
PREDICATES = {
    "plain": TRAITS,
    "fault": FAULTS,
    "contempt": CONTEMPT,
    "exclusion": EXCLUSION,
}
PREDICATES_OF_THINGS = {
    "plain": QUALITIES,
    "fault": FAULTS[:NUM_FAULTS_OF_THINGS],
    "contempt": CONTEMPT[:NUM_CONTEMPT_OF_THINGS],
    "exclusion": EXCLUSION[:NUM_EXCLUSION_OF_THINGS],
}
MANNERS = {"bare": 10, "softened": 1, "intensified": 2, "denied": 1}
"""Relative frequency of each manner."""
PLAIN_FREQUENCY = 5
"""Frequency of plain predicates, relative to fault, contempt and exclusion."""


def severity(statement: Statement) -> int:
    """Return the index of the label, 0 (none) to 3 (severe).

    Only statements about persons and groups that are not denied count. A fault weighs 1, contempt
    2, exclusion 3; a group or an intensifier adds 1, a softener subtracts 1.
    """
    hurts = statement.target in ("person", "group") and statement.predicate != "plain"
    if not hurts or statement.manner == "denied":
        return 0
    level = {"fault": 1, "contempt": 2, "exclusion": 3}[statement.predicate]
    level += statement.target == "group"
    level += {"bare": 0, "intensified": 1, "softened": -1}[statement.manner]
    return min(max(level, 1), 3)


def statements_by_severity() -> list[list[Statement]]:
    """Return the statements by severity, each repeated by its frequency."""
    by_severity: list[list[Statement]] = [[] for _ in LABELS]
    for target, predicate, manner in product(TARGETS, PREDICATES, MANNERS):
        if target == "self" and predicate in ("contempt", "exclusion"):
            continue  # nobody writes that
        statement = Statement(target=target, predicate=predicate, manner=manner)
        times = MANNERS[manner] * (PLAIN_FREQUENCY if predicate == "plain" else 1)
        by_severity[severity(statement)] += [statement] * times
    return by_severity


def express(rng: RandomChoices, statement: Statement) -> str:
    """Express the statement in words, mostly with a harmless clause around it."""
    is_thing = statement.target == "thing"
    predicate = rng.one((PREDICATES_OF_THINGS if is_thing else PREDICATES)[statement.predicate])
    if statement.manner == "softened":
        predicate = f"{rng.one(SOFTENERS)} {predicate}"
    if statement.manner == "intensified":
        urgent = statement.predicate == "exclusion"
        predicate = f"{predicate} {rng.one(URGENCY if urgent else INTENSIFIERS)}"
    core = f"{rng.one(TARGETS[statement.target])} {predicate}"
    core = rng.one(DENIALS if statement.manner == "denied" else FRAMES).format(core)
    position = rng.between(0, 1)
    if position < 0.25:
        core = f"{compose_clause(rng)}, {core}"
    elif position < 0.5:
        core = f"{core}. {compose_clause(rng).capitalize()}"
    elif position < 0.7:
        core = f"{rng.one(TIMES)} {rng.one(LOCATIONS)} {core}"
    return core


def compose_clause(rng: RandomChoices) -> str:
    """Compose a harmless clause; some contain words that make other sentences severe."""
    who = rng.one(KIN) if rng.chance(0.85) else rng.one(PERSONS + GROUPS)
    parts = [who, rng.one(VERBS), rng.one(OBJECTS)]
    if rng.chance(0.6):
        parts.append(rng.one(LOCATIONS))
    if rng.chance(0.5):
        parts.insert(rng.one((0, len(parts))), rng.one(TIMES))
    if rng.chance(0.2):
        parts.append(f"sing {rng.one(QUALITIES)} {rng.one(INTENSIFIERS)}")
    return " ".join(parts)


def vary_typing(rng: RandomChoices, text: str) -> str:
    """Vary case, punctuation, quotes, emoji, mentions and line breaks as people type them."""
    if rng.chance(0.7):
        text = text[0].upper() + text[1:]
    text += rng.one(("", ".", "!", "...", "!!", ""))
    if rng.chance(0.04):
        text = f'"{text}"'
    if rng.chance(0.03):
        text = text.replace(" ", "\n", 1)
    if rng.chance(0.09):
        text = f"{text} {rng.one(EMOJI) * rng.one((1, 1, 2, 3))}"
    if rng.chance(0.06):
        text = f"@kanca{int(rng.between(1, 90))} {text}"
    return text


def choose_wrong_label(rng: RandomChoices, label: int, by_one: float) -> int:
    """Choose another label, mostly a neighbouring severity."""
    others = [other for other in range(len(LABELS)) if other != label]
    near = [other for other in others if abs(other - label) == 1]
    return rng.one(near if rng.chance(by_one) else others)


def label_row(rng: RandomChoices, text: str, label: int) -> Row:
    """Make a row as the labelling run would write it."""
    return Row(
        text=text,
        original_label="negative" if label else "positive",
        final_label=LABELS[label],
        # One of them is exactly 0.7, the default threshold.
        confidence_score=rng.one(("0.7", "0.75", "0.8", "0.85", "0.9", "0.95", "1.0")),
        response_time=f"{rng.between(1.5, 6):.3f}",
    )


def spoil(rng: RandomChoices, row: Row, amounts: Amounts) -> Row:
    """Give a few rows a low confidence or an error instead of a label."""
    if rng.chance(amounts.error):
        reason = rng.one(("timeout", "answer cut off", "rate limit"))
        if reason == "answer cut off":  # there is a label, but it is not reliable
            return replace(row, error=reason)
        return replace(row, original_label="", final_label="", confidence_score="", error=reason)
    if rng.chance(amounts.low_confidence):
        return replace(row, confidence_score=rng.one(("0.4", "0.5", "0.6", "0.65", "0.69")))
    return row


def vary_equal(rng: RandomChoices, text: str) -> str:
    """Vary case, punctuation, mentions or links, which folding removes."""
    kind = rng.one((0, 1, 2, 3))
    if kind == 0:
        return text.upper()
    if kind == 1:
        return text.lower().rstrip(".!") + "?!"
    if kind == 2:
        return f"RT @kanca{int(rng.between(90, 99))}: {text}"
    return f"{text} https://example.org/{int(rng.between(100, 999))}"


def vary_nearly_equal(rng: RandomChoices, text: str) -> str:
    """Vary the text slightly: add a particle or repeat the last letter."""
    body = text.rstrip(".!?")
    if rng.chance(0.6) or not body[-1].isalpha():
        return f"{body} {rng.one(PARTICLES)}"
    return body + body[-1] * 2


def generate(seed: int = 42, amounts: Amounts | None = None) -> list[Row]:
    """Generate all rows in random order, determined by the seed and the amounts."""
    rng, amounts = RandomChoices(seed), amounts or Amounts()
    by_severity = statements_by_severity()
    rows = []
    for label, share in enumerate(amounts.class_shares):
        for _ in range(round(share * amounts.num_sentences)):
            text = vary_typing(rng, express(rng, rng.one(by_severity[label])))
            mistaken = rng.chance(amounts.wrong_label)
            given = choose_wrong_label(rng, label, amounts.wrong_by_one) if mistaken else label
            rows.append(spoil(rng, label_row(rng, text, given), amounts))
    return rng.shuffled([*rows, *repeat(rng, rows, amounts)])


def repeat(rng: RandomChoices, rows: Sequence[Row], amounts: Amounts) -> list[Row]:
    """Repeat some rows with equal or nearly equal texts."""
    sources = rng.shuffled([row for row in rows if row.final_label and len(row.text) > 50])
    equal = sources[: amounts.num_equal]
    near = sources[amounts.num_equal :][: amounts.num_near]
    copies = []
    for i, row in enumerate(equal):
        label = LABELS.index(row.final_label)
        given = choose_wrong_label(rng, label, 1.0) if i < amounts.num_disagreeing else label
        copies.append(label_row(rng, vary_equal(rng, row.text), given))
    for row in near:
        label = LABELS.index(row.final_label)
        copies.append(label_row(rng, vary_nearly_equal(rng, row.text), label))
    return copies


def as_csv(rows: Sequence[Row]) -> str:
    """Write the rows as CSV with a header; lines end with a line feed."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow([field.name for field in fields(Row)])
    table.writerows(astuple(row) for row in rows)
    return out.getvalue()


if __name__ == "__main__":
    PATH.write_bytes(as_csv(generate()).encode("utf-8"))
