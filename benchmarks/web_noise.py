"""Measures on real pages how much of each kind of noise they carry, and prints the table that docs/corpora.md explains.

    python benchmarks/web_noise.py FOLDER     # the folder with web_raw_vs_article_a.jsonl.gz and the other samples

Every row says what was counted; what a sample of a few hundred pages cannot show is printed as such, not estimated.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ablate.data import world

PARAGRAPH = 80
"""Characters from which a line counts as running text."""

_ADVERT = re.compile(
    r"advertis|sponsored|buy now|shop now|order now|add to (cart|basket)|\d+% off|free (shipping|delivery)|special offer|limited time"
    r"|best price|affiliate|subscribe now",
    re.IGNORECASE,
)
_COMMENT = re.compile(
    r"\b(reply|report abuse|permalink)\b|\b(says|wrote|said):|\bposted by\b|\d+ (comments|replies)\b|^comments\b",
    re.IGNORECASE | re.MULTILINE,
)
_BROKEN = re.compile(r"(\.\.\.|…|\[…\]|read more|continue reading|more »)\W*$", re.IGNORECASE)
_ENDED = re.compile(r"[.!?:;\"'”’)\]]$")
_KNOWN_SLIPS = frozenset(
    """
    teh recieve recieved definately seperate occured untill wich thier alot becuase beleive goverment enviroment tommorow wierd
    accomodate acheive begining calender commited completly concious embarass existance finaly foward freind happend immediatly
    independant knowlege liason neccessary noticable occassion occurence publically realy refered remeber succesful suprise
    tendancy truely usefull writting adress agressive apparant arguement basicly buisness collegue experiance familar garantee
    """.split()  # noqa: SIM905
)


def rows(path: Path) -> list[dict[str, object]]:
    with gzip.open(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def squeezed(text: str) -> str:
    return re.sub(r"\W+", " ", text).lower().strip()


def furniture(pages: list[dict[str, object]]) -> tuple[float, float]:
    """(share of lines, share of characters) of whole pages that are no part of the article a person marked."""
    other = total = other_chars = total_chars = 0
    for page in pages:
        body = squeezed(str(page["article_body"]))
        for line in lines(str(page["page_text"])):
            words = squeezed(line)
            outside = not words or words not in body
            total, other = total + 1, other + outside
            total_chars, other_chars = total_chars + len(line), other_chars + len(line) * outside
    return other / total, other_chars / total_chars


def adverts(texts: Iterable[str]) -> float:
    """Lines that read like an advert, for each line of running text."""
    found = running = 0
    for text in texts:
        for line in lines(text):
            running += len(line) >= PARAGRAPH
            found += bool(_ADVERT.search(line)) and len(line) < 3 * PARAGRAPH
    return found / running


def threads(texts: list[str]) -> float:
    """Share of pages with at least three marks of a comment thread."""
    return sum(len(_COMMENT.findall(text)) >= 3 for text in texts) / len(texts)


def broken(texts: Iterable[str]) -> tuple[float, float]:
    """(share of lines of running text that break off with an ellipsis or "read more", share without any closing mark)."""
    marked = unmarked = running = 0
    for text in texts:
        for line in lines(text):
            if len(line) >= PARAGRAPH:
                running += 1
                marked += bool(_BROKEN.search(line))
                unmarked += not _BROKEN.search(line) and not _ENDED.search(line)
    return marked / running, unmarked / running


def slips(word: str) -> set[str]:
    """The words from which `word` is one slip away, of the slips the generator makes: swapped, left out, doubled."""
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 1)}
    doubled = {word[:i] + word[i + 1 :] for i in range(1, len(word)) if word[i] == word[i - 1]}
    left_out = {word[:i] + c + word[i:] for i in range(1, len(word)) for c in "abcdefghijklmnopqrstuvwxyz"}
    return (swapped | doubled | left_out) - {word}


def typos(texts: Iterable[str], reference: Iterable[str]) -> tuple[float, float]:
    """(share of words of four letters or more on a list of well-known misspellings, share that are unknown to the books and
    one slip away from a word they use). The first is far too low, the second too high (rare words): the truth lies between.
    """
    common = Counter(word for text in reference for word in re.findall(r"[a-z]{4,}", text.lower()))
    found = Counter(word for text in texts for word in re.findall(r"(?<![\w'’.-])[a-z]{4,}(?![\w'’-])", text))
    total = sum(found.values())
    known = sum(n for word, n in found.items() if word in _KNOWN_SLIPS)
    one_off = sum(n for word, n in found.items() if n <= 2 and word not in common and any(common[s] >= 5 for s in slips(word)))
    return known / total, one_off / total


def near_copies(texts: list[str]) -> float:
    """Share of documents more than half of whose runs of eight words occur in an earlier document of the sample."""
    seen: set[int] = set()
    copies = 0
    for text in texts:
        words = squeezed(text).split()
        runs = {hash(tuple(words[i : i + 8])) for i in range(len(words) - 7)}
        copies += bool(runs) and len(runs & seen) > len(runs) / 2
        seen |= runs
    return copies / len(texts)


def tail(texts: Iterable[str]) -> float:
    """Exponent of the rank-frequency law of the world's kinds: pages that name them, least squares over the logarithms."""
    names = {form: name for name in world.KINDS for form in (name, world.plural(name))}
    counts = Counter(name for text in texts for name in {names[w] for w in re.findall(r"[a-z]+", text.lower()) if w in names})
    points = [(math.log(rank), math.log(count)) for rank, (_, count) in enumerate(counts.most_common(), 1)]
    mean_x, mean_y = (sum(p[i] for p in points) / len(points) for i in (0, 1))
    return -sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def main(folder: Path) -> None:
    news = rows(folder / "web_raw_vs_article_a.jsonl.gz")
    raw = [str(r["page_text"]) for r in news]
    crawl = [str(r["text"]) for r in rows(folder / "webpages_trafilatura_a.jsonl.gz") if r["lang"] == "en"]
    blogs = [str(r["text"]) for r in rows(folder / "webpages_readability_a.jsonl.gz")]
    judged = rows(folder / "dclm_human_quality_a.jsonl.gz")
    dclm = [str(r["text"]) for r in judged]
    c4 = [str(r["text"]) for r in rows(folder / "c4_noisy_web_a.jsonl.gz")]
    names = ("openstax_biology", "openstax_psychology", "synthetic_textbooks_gpt4_a", "tinystories_train_head")
    books = [str(value) for name in names for row in rows(folder / f"{name}.jsonl.gz") for value in row.values()]

    share, chars = furniture(news)
    print(f"boilerplate  {share:.3f} of the lines, {chars:.3f} of the characters of {len(news)} news pages")
    samples = {"news pages": raw, "pages (trafilatura)": crawl, "pages (readability)": blogs, "DCLM documents": dclm, "C4 pages": c4}
    for name, texts in samples.items():
        known, one_off = typos(texts, books)
        marked, unmarked = broken(texts)
        flat = name == "C4 pages"  # its line ends are lost, so nothing that is counted by line can be measured
        by_line = "" if flat else f"adverts {adverts(texts):.3f}  cut off {marked:.3f} (and {unmarked:.3f} without a closing mark)  "
        print(
            f"{name} ({len(texts)}): {by_line}comments {threads(texts):.3f}  typos {known:.5f} to {one_off:.5f}  "
            f"near copies {near_copies(texts):.3f}  exponent of the kinds {tail(texts):.2f}"
        )
    bad = sum(r["label"] == 0 for r in judged) / len(judged)
    print(f"off topic    not measurable; {bad:.3f} of the DCLM documents were judged not good")
    print("mistakes     not measurable without a judge of facts")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
