"""The statistics beside packages that others wrote, on random data sets.

Where a definition is the same, numbers are the same to 1e-9. Where one is another, it is said here, and in docs/decisions/0020-statistics.md.
"""

import math
import random

import numpy as np
import pytest
from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig, GaussianPrior
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import ProportionStatistic, RatioStatistic, RegressionAdjustedStatistic, SampleMeanStatistic, compute_theta
from gbstats.utils import check_srm
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest
from tea_tasting.aggr import Aggregates
from tea_tasting.metrics import Mean, RatioOfMeans

DATA_SETS = 1_000
NEAR = 1e-9


def near(found, expect, scale=0.0, tolerance=NEAR):
    """`scale` is what the number was made of, where it is a small rest of it."""
    assert math.isfinite(found) and abs(found - expect) <= tolerance * max(abs(expect), abs(scale)), (found, expect)


def near_interval(found, low, high):
    for one, other in zip(found, (low, high), strict=True):
        near(one, other, high - low)


def settings(chance):
    prior = None if chance.random() < 0.5 else (chance.uniform(-0.1, 0.1), chance.uniform(0.01, 0.5))
    return {
        "relative": chance.random() < 0.5,
        "confidence": chance.choice([0.8, 0.9, 0.95, 0.99, 0.999]),
        "tightest_at_subjects": chance.choice([100, 5_000, 1_000_000]),
        "prior": prior,
    }


def values(chance, subjects, level):
    """Of one quantity: nothing for some, skewed for others."""
    kind = chance.choice(["normal", "skewed", "sparse", "counts"])
    random_values = np.random.default_rng(chance.getrandbits(64))
    if kind == "normal":
        return random_values.normal(level, level * chance.uniform(0.01, 2), subjects)
    if kind == "skewed":
        return random_values.lognormal(math.log(level), chance.uniform(0.1, 1.5), subjects)
    if kind == "sparse":
        return random_values.lognormal(math.log(level), 1, subjects) * (random_values.random(subjects) < 0.3)
    return random_values.poisson(level, subjects).astype(float)


def sums(one):
    return len(one), float(one.sum()), float((one * one).sum())


def pair(one, other):
    return *sums(one), float(other.sum()), float((other * other).sum()), float((one * other).sum())


def of_gbstats(asked, control, treatment, answer):
    """The fixed test, the sequential one, and the Bayesian one, of one pair of statistics. It says nothing where one of the two has no variance."""
    if control.variance <= 0 or treatment.variance <= 0:
        return
    difference = "relative" if asked["relative"] else "absolute"
    alpha = 1 - asked["confidence"]
    fixed = TwoSidedTTest(control, treatment, FrequentistConfig(difference_type=difference, alpha=alpha))
    near(answer["estimate"], fixed.point_estimate, answer["standard_error"])
    near(answer["standard_error"], math.sqrt(fixed.variance))
    sequential = SequentialTwoSidedTTest(control, treatment, SequentialConfig(difference_type=difference, alpha=alpha, sequential_tuning_parameter=asked["tightest_at_subjects"]))
    near_interval(answer["always_valid"]["interval"], *sequential.confidence_interval)
    with np.errstate(over="ignore"):
        # Evidence that is too large to be a number there is one here.
        near(answer["always_valid"]["p_value"], sequential.p_value, 1e-290, tolerance=1e-7 if sequential.p_value < 1e-12 else NEAR)
    prior = GaussianPrior() if asked["prior"] is None else GaussianPrior(asked["prior"][0], asked["prior"][1] ** 2, True)
    # A prior is told in the same scale as the effect here.
    bayesian = EffectBayesianABTest(control, treatment, EffectBayesianConfig(difference_type=difference, alpha=alpha, prior_effect=prior, prior_type=difference)).compute_result()
    posterior = answer["posterior"]
    near(posterior["mean"], bayesian.expected, posterior["standard_deviation"])
    near(posterior["standard_deviation"], bayesian.uplift.stddev)
    near(posterior["chance_to_win"], bayesian.chance_to_win)
    near_interval(posterior["interval"], *bayesian.ci)
    # Those are means of truncated normal distributions, which are imprecise far in the tails.
    for own, theirs in ((posterior["expected_loss_of_control"], bayesian.risk[0]), (posterior["expected_loss"], bayesian.risk[1])):
        if abs(posterior["mean"]) < 6 * posterior["standard_deviation"]:
            near(own, theirs, posterior["standard_deviation"] * 1e-3)


def test_means(ask):
    chance = random.Random(1)
    cases = []
    for number in range(DATA_SETS):
        sizes = [chance.choice([2, 3, 10, 100, 2_000]) for _ in range(2)]
        level = 10 ** chance.uniform(-3, 6)
        one, other = (values(chance, size, level * chance.uniform(0.9, 1.2)) for size in sizes)
        cases.append(({"what": "mean", "control": sums(one), "treatment": sums(other), **settings(chance)}, one, other))
    compared = 0
    for (asked, one, other), answer in zip(cases, ask([case[0] for case in cases]), strict=True):
        if "undetermined" in answer:
            assert one.var() + other.var() == 0 or (asked["relative"] and 0 in (one.mean(), other.mean())), (asked, answer)
            continue
        compared += 1
        near(answer["control"][0], one.mean())
        # What sums of squares lose to rounding is a matter of the sums.
        near(answer["treatment"][1], other.var(ddof=1), other.mean() ** 2 * 1e-3)
        control, treatment = (SampleMeanStatistic(n=n, sum=total, sum_squares=squares) for n, total, squares in (asked["control"], asked["treatment"]))
        of_gbstats(asked, control, treatment, answer)
        if not asked["relative"] and min(one.var(), other.var()) > (max(one.mean(), other.mean()) * 1e-3) ** 2:
            welch = stats.ttest_ind(other, one, equal_var=False)
            near(answer["p_value"], welch.pvalue, 1e-300, tolerance=1e-8)
            interval = welch.confidence_interval(asked["confidence"])
            near_interval(answer["interval"], interval.low, interval.high)
    assert compared > 0.9 * DATA_SETS


def test_means_of_very_many(ask):
    """From what packages take: means, deviations and numbers."""
    chance = random.Random(2)
    cases = []
    for _ in range(DATA_SETS):
        arms = []
        for _ in range(2):
            n, mean, deviation = int(10 ** chance.uniform(0.4, 9.5)), 10 ** chance.uniform(-2, 4), 10 ** chance.uniform(-1, 4)
            arms.append((n, mean, deviation))
        questions = [(n, n * mean, (n - 1) * deviation**2 + n * mean**2) for n, mean, deviation in arms]
        cases.append(({"what": "mean", "control": questions[0], "treatment": questions[1], **settings(chance), "relative": False}, arms))
    for (asked, arms), answer in zip(cases, ask([case[0] for case in cases]), strict=True):
        if any(deviation < mean * 1e-2 for _, mean, deviation in arms):
            # The sums are what is known, and have lost it.
            continue
        (n1, m1, s1), (n2, m2, s2) = arms
        expect = stats.ttest_ind_from_stats(m2, s2, n2, m1, s1, n1, equal_var=False)
        # A p-value that is tiny hangs on the last digits of the statistic, with its square.
        near(answer["p_value"], expect.pvalue, 1e-300, tolerance=1e-9 * max(1.0, expect.statistic**2))


def test_proportions(ask):
    chance = random.Random(3)
    cases = []
    for _ in range(DATA_SETS):
        arms = []
        for _ in range(2):
            subjects = int(10 ** chance.uniform(0.5, 8))
            arms.append((subjects, min(subjects, round(subjects * chance.betavariate(1, 5)))))
        cases.append({"what": "proportion", "control": arms[0], "treatment": arms[1], **settings(chance)})
    compared = 0
    for asked, answer in zip(cases, ask(cases), strict=True):
        (n1, k1), (n2, k2) = asked["control"], asked["treatment"]
        if "undetermined" in answer:
            assert (k1 in (0, n1) and k2 in (0, n2)) or (asked["relative"] and 0 in (k1, k2)), (asked, answer)
            continue
        compared += 1
        # gbstats has Student's t here too; the effect, its error, the sequential and the Bayesian test do not hang on it.
        if k1 > 0:
            of_gbstats(asked, ProportionStatistic(n=n1, sum=k1), ProportionStatistic(n=n2, sum=k2), answer)
        if not asked["relative"]:
            # Unpooled, which statsmodels calls Wald's.
            low, high = confint_proportions_2indep(k2, n2, k1, n1, method="wald", compare="diff", alpha=1 - asked["confidence"])
            near_interval(answer["interval"], low, high)
            statistic, p_value = proportions_ztest([k2, k1], [n2, n1], value=0, prop_var=False)
            own = answer["estimate"] / answer["standard_error"]
            near(answer["p_value"], 2 * stats.norm.sf(abs(own)), 1e-300)
            # Its test pools the variances; for many subjects that are much alike it is the same.
            if min(k1, k2, n1 - k1, n2 - k2) > 1e4 and abs(own) < 3:
                near(own, statistic, 1, tolerance=0.05)
    assert compared > 0.9 * DATA_SETS


@pytest.mark.parametrize("what", ["ratio", "adjusted"])
def test_pairs(ask, what):
    chance = random.Random(what)
    cases = []
    for _ in range(DATA_SETS):
        arms = []
        for _ in range(2):
            size = chance.choice([2, 5, 50, 1_000])
            other = values(chance, size, 10 ** chance.uniform(0, 3)) + 1
            one = other * chance.uniform(0.5, 2) + values(chance, size, 10 ** chance.uniform(0, 3))
            arms.append((one, other))
        cases.append(({"what": what, "control": pair(*arms[0]), "treatment": pair(*arms[1]), **settings(chance)}, arms))
    compared = 0
    for (asked, arms), answer in zip(cases, ask([case[0] for case in cases]), strict=True):
        if "undetermined" in answer or min(one.var() for one, _ in arms) == 0:
            continue
        aggregates = []
        for one, other in arms:
            of = np.cov(one, other)
            aggregates.append(Aggregates(len(one), {"y": one.mean(), "x": other.mean()}, {"y": of[0, 0], "x": of[1, 1]}, {("x", "y"): of[0, 1]}))
        metric = RatioOfMeans("y", "x", use_t=False, confidence_level=asked["confidence"]) if what == "ratio" else Mean("y", "x", use_t=True, equal_var=False, confidence_level=asked["confidence"])
        try:
            theirs = metric.analyze_aggregates(*aggregates)
        except OverflowError:
            # Its relative intervals are of the logarithm, and theirs of two subjects may be beyond all numbers.
            continue
        if min(answer["control"][1], answer["treatment"][1]) <= 1e-9 * answer["control"][0] ** 2:
            # Two subjects, or a ratio that is the same for all: nothing but rounding is left.
            continue
        compared += 1
        spread = math.sqrt(answer["control"][1])
        near(answer["control"][0], theirs.control, spread)
        near(answer["treatment"][0], theirs.treatment, spread)
        if not asked["relative"]:
            near(answer["estimate"], theirs.effect_size, answer["standard_error"], tolerance=1e-8)
            near(answer["standard_error"], theirs.effect_size / theirs.statistic, tolerance=1e-7)
            near(answer["p_value"], theirs.pvalue, 1e-300, tolerance=1e-6)
        def statistic(n, total, squares):
            return SampleMeanStatistic(n=n, sum=total, sum_squares=squares)
        if what == "ratio":
            own = [RatioStatistic(n=n, m_statistic=statistic(n, a, b), d_statistic=statistic(n, c, d), m_d_sum_of_products=e) for n, a, b, c, d, e in (asked["control"], asked["treatment"])]
            for number, side in enumerate(("control", "treatment")):
                near(answer[side][1], own[number].variance, own[number].mean ** 2 * 1e-3)
        else:
            own = [RegressionAdjustedStatistic(n=n, post_statistic=statistic(n, a, b), pre_statistic=statistic(n, c, d), post_pre_sum_of_products=e, theta=0) for n, a, b, c, d, e in (asked["control"], asked["treatment"])]
            theta = compute_theta(*own)
            for number, side in enumerate(("control", "treatment")):
                own[number].theta = theta
                near(answer[side][1], own[number].variance, own[number].post_statistic.mean ** 2 * 1e-3)
            if not asked["relative"]:
                # gbstats has its adjusted means around another point, and relative effects by the unadjusted one; the difference is the same.
                near(answer["estimate"], own[1].mean - own[0].mean, answer["standard_error"], tolerance=1e-8)
    assert compared > 0.7 * DATA_SETS


def test_sample_ratio(ask):
    chance = random.Random(4)
    cases = []
    for _ in range(DATA_SETS):
        weights = [chance.uniform(0.05, 1) for _ in range(chance.randint(2, 6))]
        subjects = [int(10 ** chance.uniform(0, 7) * weight) for weight in weights] if chance.random() < 0.3 else [round(1e5 * weight * chance.uniform(0.99, 1.01)) for weight in weights]
        cases.append({"what": "sample_ratio", "subjects": subjects, "weights": weights})
    for asked, answer in zip(cases, ask(cases), strict=True):
        if sum(asked["subjects"]) == 0:
            assert answer == {"undetermined": "there are too few subjects"}
            continue
        expected = np.array(asked["weights"]) / sum(asked["weights"]) * sum(asked["subjects"])
        near(answer["chi_square"], stats.chisquare(asked["subjects"], expected).statistic, 1e-6)
        near(answer["p_value"], check_srm(asked["subjects"], asked["weights"]), 1e-300, tolerance=NEAR * max(1.0, answer["chi_square"]))


def test_many(ask):
    chance = random.Random(5)
    # statsmodels takes its time.
    cases = [{"what": "many", "p_values": [chance.random() ** chance.choice([1, 4]) for _ in range(chance.randint(1, 40))]} for _ in range(50)]
    for asked, answer in zip(cases, ask(cases), strict=True):
        for own, method in (("holm", "holm"), ("benjamini_hochberg", "fdr_bh")):
            for found, expect in zip(answer[own], multipletests(asked["p_values"], method=method)[1], strict=True):
                near(found, expect)


def test_power(ask):
    chance = random.Random(6)
    cases = []
    for _ in range(200):
        variance, share = 10 ** chance.uniform(-2, 4), chance.choice([0.1, 0.5, 0.8])
        cases.append({
            "what": "power", "control_variance": variance, "treatment_variance": variance, "treatment_share": share, "confidence": chance.choice([0.9, 0.95]),
            "difference": math.sqrt(variance) * chance.uniform(0.01, 0.5), "subjects": chance.choice([100, 10_000]) * 10, "power": chance.choice([0.8, 0.9]),
        })
    for asked, answer in zip(cases, ask(cases), strict=True):
        share, size = asked["treatment_share"], asked["difference"] / math.sqrt(asked["control_variance"])
        theirs = NormalIndPower()
        near(answer["power"], theirs.power(size, asked["subjects"] * (1 - share), 1 - asked["confidence"], share / (1 - share)))
        # What is found on the wrong side counts in their number of subjects, and not in this one: a difference in the sixth digit.
        subjects = theirs.solve_power(effect_size=size, alpha=1 - asked["confidence"], power=asked["power"], ratio=share / (1 - share)) / (1 - share)
        near(answer["subjects"], subjects, tolerance=1e-4)


def test_what_cannot_be_had_is_said(ask):
    base = {"relative": False, "confidence": 0.95, "tightest_at_subjects": 5_000, "prior": None}
    cases = [
        ({"what": "mean", "control": (1, 5, 25), "treatment": (9, 5, 25), **base}, "too few subjects"),
        ({"what": "mean", "control": (9, 9, 9), "treatment": (7, 7, 7), **base}, "same value"),
        ({"what": "mean", "control": (9, 0, 0), "treatment": (7, 7, 9), **base, "relative": True}, "control's mean is zero"),
        ({"what": "mean", "control": (9, 1e308, 1e308), "treatment": (7, 7, 9), **base}, "too large"),
        ({"what": "proportion", "control": (0, 0), "treatment": (9, 3), **base}, "too few subjects"),
        ({"what": "proportion", "control": (9, 0), "treatment": (9, 0), **base}, "same value"),
        ({"what": "proportion", "control": (9, 0), "treatment": (9, 3), **base, "relative": True}, "control's mean is zero"),
        ({"what": "proportion", "control": (9, 3), "treatment": (9, 0), **base, "relative": True}, "treatment's mean is zero"),
        ({"what": "ratio", "control": (9, 3, 9, 0, 0, 0), "treatment": (9, 3, 9, 1, 1, 1), **base}, "denominator is zero"),
        ({"what": "mean", "control": (9, 3, 9), "treatment": (9, 4, 9), **base, "confidence": 1.0}, "between 0 and 1"),
        ({"what": "mean", "control": (9, 3, 9), "treatment": (9, 4, 9), **base, "prior": (0, 0)}, "prior"),
    ]
    for (asked, told), answer in zip(cases, ask([case[0] for case in cases]), strict=True):
        assert told in answer["undetermined"], (asked, answer)
