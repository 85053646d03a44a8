"""Function words by language: they show a text's language, begin sentences, and say nothing about its content.

Chosen for office documents: the words of Snowball's lists that are frequent there, without those that also are content
("estado", "weg"); measured in docs/decisions/0066.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

ENGLISH, GERMAN = "english", "german"
FUNCTION_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        ENGLISH: "a about all also am an and any are as at be been being between both but by can could did do does "
        "doing for from had has have having he her here his how i if in into is it its may me might more most much "
        "many must my no nor not of on or other our out over shall she should so some such than that the their them "
        "then there these they this those to under up us was we were what when where whether which while who whom "
        "whose why will with within would you your",
        GERMAN: "aber alle allen aller alles als also am an andere anderen auch auf aus außerdem bei beide bin bis "
        "bitte da dabei daher damit danach dann darf das dass davon dazu dem den denn der deren des dessen dich die "
        "dies diese diesem diesen dieser dieses dir doch dort du durch ein eine einem einen einer eines er es etwas "
        "euch für gegen hat habe haben hatte hatten hier hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in "
        "ins ist ja jede jedem jeden jeder jedes jedoch jetzt kann kein keine keinen keiner können man mein meine "
        "mich mir mit muss müssen nach nicht nichts noch nun nur ob oder ohne sehr sein seine seinem seinen seiner "
        "sich sie sind so soll sollte sollten sondern sonst sowie über um und uns unser unsere unseren unter vom von "
        "vor während war waren was weil welche welcher welches wenn wer werden wie wieder wir wird wo worden wurde "
        "wurden würde zu zum zur zwischen",
        "french": "ai ainsi alors après as à au aucun aucune aussi autre autres aux avait avant avec avez avons ce "
        "ceci cela ces cet cette chaque comme contre dans de depuis des donc dont du elle elles en entre es est et "
        "étaient était été êtes être eux fut ici il ils je la le les leur leurs lors lorsque lui ma mais me même mes "
        "moi mon ne ni nos notre nous on ont ou où par pas pendant pour puis qu quand que quel quelle quelles quels "
        "qui sa sans se selon sera seront ses si soit son sont sous suis sur ta te tes toi ton tous tout toute toutes "
        "très tu un une vos votre vous y",
        "spanish": "a al algún alguna algunas algunos allí ante antes así aunque cada como con contra cual cuál "
        "cuando cuándo cuyo de del desde después donde dónde durante e el él ella ellas ellos en entonces entre era "
        "eran es esa esas ese eso esos esta está estaba están estar estas este esto estos fue fueron ha había habrá "
        "han hasta hay la las le les lo los luego mas más me mi mis mismo muy ni no nos nosotros nuestra nuestro o os "
        "otra otras otro otros para pero por porque pues que qué quien quién quienes se sea según ser será serán si "
        "sí sido sin sobre son su sus también tan te tiene tienen toda todas todo todos tu tus un una unas uno unos "
        "usted ustedes y ya yo",
        "italian": "agli ai al alla alle anche che chi ci come con cui da dai dal dalla degli dei del della delle di "
        "e è era essere gli ha hanno i il in la le lo loro ma nei nel nella nelle non o per perché più quale quando "
        "quella quello questa queste questi questo se si sono su sua sue sugli sui sul sulla suo tra un una uno",
        "dutch": "aan al alle alles als andere bent bij dan daar daarna daarom dat de der deze die dit door dus een "
        "eens elke en er geen haar had hadden heb hebben heeft hem hen het hier hij hoe hun iemand iets ik in is je "
        "kan kon kunnen maar me meer men met mij mijn moet moeten na naar niet niets nog nu of om omdat onder ons "
        "onze ook op over reeds sinds te tegen tijdens toch toen tot tussen u uit uw van veel volgens voor waar want "
        "waren was wat we welke werd werden wie wij wil worden wordt zal ze zelf zich zij zijn zo zodat zonder zou "
        "zouden zullen",
        "portuguese": "à ao aos às até com como da das de depois do dos e é ela elas ele eles em entre era essa esse "
        "esta está este estes foi foram há isso isto já lhe mais mas muito na não nas nem no nos nossa nosso o os ou "
        "para pela pelas pelo pelos por qual quando que quem se sem ser será seu seus sua suas são só também tem têm "
        "um uma você",
        "swedish": "alla att av de dem den denna det detta där efter eller en ett från för ha hade han har hon hur "
        "här i inte jag kan man med men mot mycket ni när och om på samt sig sin sina ska som till under upp ut utan "
        "vad var vara varit vi vid vill än är över",
    }.items()
}
LANGUAGES = tuple(FUNCTION_WORDS)
ALL_FUNCTION_WORDS = frozenset[str]().union(*FUNCTION_WORDS.values())
#: Function word -> the languages that have it. Single letters prove nothing: they are initials as well.
_LANGUAGES_OF = {
    word: tuple(language for language in LANGUAGES if word in FUNCTION_WORDS[language])
    for word in ALL_FUNCTION_WORDS
    if len(word) > 1
}
_WORD = re.compile(r"[^\W_]+")
#: Characters of a text from which its language is recognised.
_SAMPLE = 2000


def language_of(text: str, languages: Sequence[str] = LANGUAGES) -> str:
    """Return the language whose function words are most frequent in a text, English if there are none."""
    matches = filter(None, map(_LANGUAGES_OF.get, _WORD.findall(text[:_SAMPLE].lower())))
    counts = Counter(language for candidates in matches for language in candidates if language in languages)
    return max(counts, key=lambda language: (counts[language], language == ENGLISH), default=ENGLISH)


def function_words(words: Sequence[str], language: str) -> list[str]:
    """Return those of the words that are function words of the language."""
    return [word for word in words if word.strip(".,;:!?()[]{}'\"").lower() in FUNCTION_WORDS[language]]


def content_words(words: Sequence[str], language: str) -> list[str]:
    """Return the words without the language's function words; all of them if nothing else would remain."""
    function = set(function_words(words, language))
    return [word for word in words if word not in function] or list(words)
