"""What web pages carry beside what they say: text about other things, page furniture, adverts, chatter, slips of the keyboard.

Each kind draws from a generator of its own, so switching one off does not change what the others draw.
The proportions are `spec.Noise`; how they were measured is in docs/corpora.md.
"""

from __future__ import annotations

from ablate.data.world import PEOPLE, Draw, pick

_DEVICES = ("phone", "laptop", "camera", "tablet", "printer", "speaker", "router", "watch", "console", "screen")
_BRANDS = ("Nexo", "Volta", "Zenix", "Arcom", "Lumio", "Orbit", "Kronos", "Pixon", "Delta", "Prima")
_TRAITS = ("better", "faster", "cheaper", "lighter", "amazing", "terrible", "decent", "popular", "official", "updated")
_PARTS = ("battery", "software", "memory", "design", "keyboard", "warranty", "network", "display", "driver", "signal")
_TEAMS = ("United", "Rovers", "Rangers", "City", "Athletic", "Giants", "Kings", "Pirates")
_SPORTS = ("match", "season", "final", "league", "transfer", "contract", "coach", "defence")
_DISHES = ("pasta", "salad", "curry", "pizza", "pudding", "stew", "sauce", "pancakes")
_STEPS = ("stir", "bake", "chop", "boil", "mix", "fry", "serve", "season")
_TOPICS = ("budget", "election", "policy", "market", "court", "mortgage", "insurance", "hospital", "council", "traffic")
_ACTS = ("announced", "delayed", "confirmed", "reviewed", "rejected", "launched", "promised", "reported")
_MEDIA = ("album", "movie", "episode", "trailer", "novel", "concert", "podcast", "series")
_MONTHS = ("January", "March", "April", "June", "August", "October", "November", "December")
_WORDS = {
    "device": _DEVICES,
    "brand": _BRANDS,
    "trait": _TRAITS,
    "part": _PARTS,
    "team": _TEAMS,
    "sport": _SPORTS,
    "dish": _DISHES,
    "step": _STEPS,
    "topic": _TOPICS,
    "act": _ACTS,
    "media": _MEDIA,
    "month": _MONTHS,
}

SUBJECTS = (
    (
        "The {brand} {device} comes with a {trait} {part}.",
        "Its {part} is {trait} than on the {brand} {device}.",
        "I bought this {device} in {month} and the {part} stopped working.",
        "You can update the {part} from the settings page.",
        "We tested the {part} of every {device} from {brand}.",
    ),
    (
        "{team} won the {sport} against {team} in {month}.",
        "The {sport} was {trait}, said the manager of {team}.",
        "{team} have {act} a new {sport}.",
        "Fans of {team} think that the {sport} looks {trait}.",
        "Tickets for the {sport} go on sale in {month}.",
    ),
    (
        "{step} the {dish} for twenty minutes, then {step} it again.",
        "This {dish} is {trait} than the one from last {month}.",
        "You can {step} the {dish} with butter and garlic.",
        "My family loves this {trait} {dish}.",
        "Heat the oven and {step} everything until golden.",
    ),
    (
        "Officials have {act} the {topic} after the {topic} report.",
        "The {topic} was {act} in {month}, sources say.",
        "Critics called the {topic} plan {trait}.",
        "A spokesman {act} that the {topic} would change.",
        "The company {act} results for {month}.",
    ),
    (
        "The new {media} is out in {month}.",
        "Reviewers say the {media} is {trait} than the {media}.",
        "She {act} a second {media} with {brand}.",
        "Watch the {media} online from {month}.",
        "The {trait} {media} won a prize in {month}.",
    ),
)

FURNITURE = (
    "Home | About | Contact | Sitemap",
    "Home",
    "About us",
    "Contact",
    "Log in | Register",
    "Sign up for our newsletter",
    "This site uses cookies. By using it you accept our cookie policy. Accept",
    "We use cookies to improve your experience. OK | Learn more",
    "Privacy policy | Terms of use",
    "Copyright 2019. All rights reserved.",
    "Share on Facebook | Twitter | Email",
    "Share this",
    "Print this page",
    "Skip to content",
    "Search",
    "Menu",
    "News | Sport | Video | Shop | More",
    "Related articles",
    "Most read",
    "You may also like",
    "Previous | Next",
    "Back to top",
    "Posted in {topic} on {month}",
    "Tags: {topic}, {media}, {device}",
    "Categories: {topic} | {sport} | {dish}",
    "Filed under {topic}",
    "{month} 2018",
    "Leave a reply",
    "Subscribe",
    "Loading...",
    "Follow us",
    "Help | FAQ | Careers",
    "Advertise with us",
    "Powered by {brand}",
    "Join now | Forgot password?",
    "Powered by {brand} | Theme by {brand}",
)

ADVERTS = (
    "Ad: save on a {trait} {brand} {device} today!",
    "Buy the {brand} {device} now. Free delivery!",
    "Sponsored: the {trait} {device} that everyone wants",
    "Cheap {topic}? Compare offers from {brand} now",
    "Limited offer: get the {media} and a {device} at half price. Click here",
    "{brand}: the {trait} way to fix your {part}. Order now!",
)

CHATTER = (
    "{person} says: great post, thanks!",
    "{person}: lol so true",
    "{person} wrote: i do not agree at all",
    "Anonymous: first!!",
    "{person} says: can you post more of this please?",
    "{person}: thanks for sharing",
    "{person} wrote: this is so wrong",
    "Reply | Report | {person}",
    "{person}: me too",
    "{person} says: where did you read that?",
)


def _filled(draw: Draw, template: str) -> str:
    """`template` with a word for each name in braces; two of one name are drawn apart."""
    out = []
    for part in template.split("{"):
        name, brace, rest = part.partition("}")
        if not brace:
            out.append(part)
            continue
        word = pick(draw, PEOPLE if name == "person" else _WORDS[name])
        out.append((word if out[-1] or len(out) > 1 else word[0].upper() + word[1:]) + rest)
    return "".join(out)


def off_topic(draw: Draw) -> list[str]:
    """The paragraphs of a page about something outside the world."""
    sentences = pick(draw, SUBJECTS)
    return [" ".join(_filled(draw, pick(draw, sentences)) for _ in range(1 + int(draw() * 3))) for _ in range(2 + int(draw() * 2))]


def furniture(draw: Draw) -> str:
    """One line of menu, cookie banner, footer."""
    return _filled(draw, pick(draw, FURNITURE))


def advert(draw: Draw) -> str:
    return _filled(draw, pick(draw, ADVERTS))


def chatter(draw: Draw) -> str:
    """A comment that says nothing about the page's subject."""
    return _filled(draw, pick(draw, CHATTER))


def misspelt(draw: Draw, word: str) -> str:
    """`word` with two letters swapped, one left out or one doubled; words under four letters and numbers as they are."""
    if len(word) < 4 or not word.isalpha():
        return word
    at, slip = 1 + int(draw() * (len(word) - 2)), int(draw() * 3)
    if slip == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if slip == 1 else word[:at] + word[at] + word[at:]


def with_typos(draw: Draw, text: str, chance: float) -> str:
    return " ".join([misspelt(draw, word) if draw() < chance else word for word in text.split(" ")])


def cut(draw: Draw, paragraph: str) -> str:
    """The beginning of `paragraph`, broken off between two words in mid sentence."""
    words = paragraph.split(" ")
    return " ".join(words[: 1 + int(draw() * (len(words) - 1))]).rstrip(".!?,") + pick(draw, ("...", " ... Read more", " [...]", ""))
