"""The sentences of the shop's descriptions and reviews.

A slot in braces takes a form of that attribute. ``{this}``, ``{is}``, ``{a}`` agree with the type
noun that follows ("these boots are", "a lamp", "boots"); ``{an}`` is an article of any noun.
"""

from __future__ import annotations

# Group -> sentences. A description opens with "opening" and goes on with other groups.
SENTENCES: dict[str, tuple[str, ...]] = {
    "opening": (
        "{brand} presents {a} {adjective} {leaf} with {an} {style} look.",
        "Meet {this} {adjective} {leaf} from {brand}.",
        "{this} {leaf} by {brand} {brings} {an} {style} touch to every day.",
        "From the {style} line of {brand} {comes} {this} {leaf}.",
        "{an} {adjective} choice: {a} {leaf} in the {style} manner of {brand}.",
        "{brand} designed {this} {leaf} for people who like {style} things.",
        "{style} lines shape {this} {adjective} {leaf}.",
        "Every {brand} shelf needs {a} {leaf} like {this}.",
        "{this} {leaf} {is} part of the {style} collection by {brand}.",
        "Looking for {a} {style} {leaf}? {brand} has {an} {adjective} answer.",
    ),
    "material": (
        "The body is made of {material}.",
        "We chose {material} because it lasts.",
        "{material} gives it {an} {adjective} touch.",
        "Its makers work with {material} only.",
        "The material is {material}, easy to care for.",
        "Made from {material} that ages well.",
        "You can feel the {material} at once.",
    ),
    "colour": (
        "The {colour} tone goes with almost anything.",
        "Its {colour} finish keeps for years.",
        "{an} {colour} surface completes the picture.",
        "Here it comes in {an} {colour} shade.",
        "{an} {adjective} {colour} colour sets the mood.",
        "Photographs show the {colour} version.",
    ),
    "pattern": (
        "{an} {pattern} design in {an} {colour} tone sets it apart.",
        "The {pattern} pattern catches the eye.",
        "Its {pattern} motif repeats all around.",
        "{an} {pattern} print runs over the {colour} ground.",
        "Look closely at the {pattern} detail.",
        "The {colour} surface carries {an} {pattern} pattern.",
    ),
    "feature": (
        "Its {feature} construction makes life easier.",
        "Thanks to the {feature} design you will use it often.",
        "{an} {feature} build is what customers praise.",
        "The {feature} version costs no more.",
        "Tested twice for its {feature} quality.",
        "One {adjective} detail: the {feature} make.",
    ),
    "season": (
        "Best enjoyed on {season} days.",
        "Part of our {season} selection.",
        "{an} {adjective} companion in {season} weather.",
        "Made with {season} temperatures in mind.",
        "It belongs to the {season} catalogue.",
    ),
    "audience": (
        "You find it in our {audience} range.",
        "Sizes follow the {audience} chart.",
        "Cut and shaped as {an} {audience} model.",
        "It is listed under {audience} articles.",
    ),
    "size": (
        "This is the {size} format.",
        "It comes in {an} {size} version.",
        "The {size} size suits most people.",
        "Choose this {size} one or ask for another size.",
        "Its {size} dimensions are given below.",
    ),
    "origin": (
        "Made in {origin}.",
        "Our workshop in {origin} produces it in small numbers.",
        "It travels to you from {origin}.",
        "Craftspeople in {origin} finish each piece by hand.",
        "Sourced from a family business in {origin}.",
    ),
    "occasion": (
        "Think of {an} {occasion}, and you know why we made it.",
        "Ideal for {an} {occasion}.",
        "Our tip for {an} {occasion}.",
        "It comes into its own at {an} {occasion}.",
        "Planning {an} {occasion}? Take it along.",
        "Many buy it for {an} {occasion}.",
    ),
    "filler": (
        "Delivery takes two or three working days.",
        "{an} {adjective} gift, too.",
        "We pack it without plastic.",
        "You have thirty days to send it back.",
        "Spare parts are available on request.",
        "Read the notes before first use.",
    ),
}

# aspect -> polarity -> phrases; a phrase stands alone as a clause.
ASPECTS: dict[str, dict[int, tuple[str, ...]]] = {
    "quality": {
        1: (
            "the {leaf} {is} well made", "the finish feels solid", "it still looks new after weeks",
            "the workmanship is excellent", "you can tell that it will last",
        ),
        0: ("the quality is all right", "it is made well enough for the price"),
        -1: (
            "the {leaf} came apart after a week", "the seams are poor", "it feels cheap",
            "the finish is already wearing off", "the workmanship is careless",
        ),
    },
    "size": {
        1: ("the size is spot on", "it fits as described", "the dimensions are just right"),
        0: ("the size is more or less as stated", "it fits, nearly"),
        -1: (
            "it is much smaller than stated", "the size is wrong", "it does not fit",
            "the dimensions are off",
        ),
    },
    "colour": {
        1: (
            "the {colour} is exactly as in the picture", "I love the {colour} tone",
            "the colour matches the photo",
        ),
        0: ("the {colour} is close to the picture", "the colour depends on the light"),
        -1: (
            "the {colour} looks nothing like the photo", "the colour is off",
            "in daylight it is not {colour} at all",
        ),
    },
    "delivery": {
        1: ("delivery was quick", "it arrived a day early", "the parcel came well packed"),
        0: ("delivery took the usual time", "the parcel arrived as announced"),
        -1: (
            "delivery took ages", "the parcel arrived damaged", "I had to ask twice where it was",
        ),
    },
}  # fmt: skip

# rating -> verdicts that open or close a review
VERDICTS: dict[int, tuple[str, ...]] = {
    1: ("Very disappointed", "Would not buy again", "A waste of money", "Sending it back"),
    2: ("Not what I hoped for", "Below expectations", "Rather let down"),
    3: ("It is okay", "Mixed feelings", "Does the job", "Average"),
    4: ("Happy with it", "A good buy", "Would recommend", "Nearly perfect"),
    5: ("Love it", "Could not be happier", "Best purchase this year", "Perfect"),
}

# What a sarcastic reviewer says: praise that is meant as blame, and the other way round.
SARCASM: dict[int, tuple[str, ...]] = {
    -1: (
        "Oh, wonderful", "Great job, really", "Just what everybody dreams of",
        "Congratulations to the makers",
    ),
    1: (
        "Terrible, now my sister wants one as well", "Awful, I have stopped looking at others",
        "What a shame that I only bought one", "Ruined, every other one I own looks poor now",
    ),
}  # fmt: skip

# Bought praise: says much and knows nothing of the product.
FAKES: tuple[str, ...] = (
    "Amazing product, five stars, everybody should buy it now",
    "Best shop ever, best {leaf} ever, buy buy buy",
    "Super super quality, very recommended seller",
    "I was paid nothing to say that this {leaf} is perfect",
    "Wow, incredible {leaf}, changed my life, thank you",
)
