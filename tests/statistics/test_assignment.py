"""Which variation a subject sees, beside GrowthBook's own package."""

import random

from growthbook.core import chooseVariation, gbhash, getBucketRanges, inNamespace

SUBJECTS = 100_000
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_:@. äß漢🌊"


def text(chance, longest):
    return "".join(chance.choice(LETTERS) for _ in range(chance.randint(0, longest)))


def test_every_subject_sees_what_it_sees_there(ask):
    chance = random.Random(7)
    cases = []
    for _ in range(SUBJECTS):
        variations = chance.randint(2, 6)
        weights = None
        if chance.random() < 0.7:
            parts = [chance.random() for _ in range(variations)]
            # Some are no shares, for which there is a rule too.
            weights = [part / sum(parts) * chance.choice([1, 1, 1, 1.005, 0.9]) for part in parts]
        start = chance.random()
        cases.append({
            "what": "assignment", "seed": text(chance, 20), "subject": text(chance, 36), "version": chance.choice([1, 2]), "variations": variations, "weights": weights,
            "coverage": chance.choice([1.0, 0.5, 0.1, 0.0, 1.5, chance.random()]),
            "namespace": None if chance.random() < 0.5 else (text(chance, 12), start, min(1.0, start + chance.random())),
        })
    seen = set()
    for asked, answer in zip(cases, ask(cases), strict=True):
        number = gbhash(asked["seed"], asked["subject"], asked["version"])
        variation = chooseVariation(number, getBucketRanges(asked["variations"], asked["coverage"], asked["weights"]))
        if asked["namespace"] is not None and not inNamespace(asked["subject"], asked["namespace"]):
            variation = -1
        assert answer == {"hash": number, "variation": None if variation == -1 else variation}, asked
        seen.add(variation)
    assert seen == {-1, 0, 1, 2, 3, 4, 5}
