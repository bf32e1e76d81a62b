use super::text::grouped;
use super::*;

fn experiment() -> Experiment {
    let trial = Trial {
        control: Outcome { subjects: 500, conversions: 150 },
        treatment: Outcome { subjects: 500, conversions: 200 },
        contaminated: 3,
    };
    Experiment::of(&trial)
}

fn report(books: Vec<Check>, findings: Vec<String>) -> Report {
    let audit = Audit { balanced: findings.is_empty(), findings };
    let sound = audit.balanced && books.iter().all(|check| check.agrees);
    Report { users: 2_000, days: 3, seed: 7, sound, books, audit, experiment: experiment(), events_by_hour: [1; 24] }
}

#[test]
fn the_text_says_what_was_found_beside_what_was_expected() {
    let text = render(&report(vec![check("rows of Silver", 41_230, 41_230)], Vec::new()));
    for part in [
        "2,000 visitors over 3 days, seed 7",
        "rows of Silver        41,230        41,230  ✓",
        "the books balance",
        "control          500     150   30.0 %  26.1 % to 34.2 %    30.0 %",
        "+10.0 points (+4.1 to +15.9), in truth +10.0",
        "in truth +33.3",
        "p-value       0.0009",
        "sample ratio  p = 1.0000",
        "3 subjects that saw both",
        "████████████████████████",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains('✗'));
}

#[test]
fn what_does_not_agree_is_marked_and_makes_the_report_unsound() {
    let wrong = report(vec![check("duplicates", 5, 4)], Vec::new());
    assert!(!wrong.is_sound() && render(&wrong).contains("✗"));
    let unbalanced = report(vec![check("duplicates", 5, 5)], vec!["one row is missing".to_owned()]);
    let text = render(&unbalanced);
    assert!(!unbalanced.is_sound() && text.contains("do NOT balance") && text.contains("✗ one row is missing"));
    assert!(report(vec![check("duplicates", 5, 5)], Vec::new()).is_sound());
}

#[test]
fn the_json_is_one_document_with_the_same_figures() {
    let text = report(vec![check("duplicates", 5, 5)], Vec::new()).to_json().unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["books"][0], serde_json::json!({"what": "duplicates", "expected": 5, "found": 5, "agrees": true}));
    assert_eq!(json["experiment"]["effect"]["true_absolute"], serde_json::json!(0.1));
    assert_eq!(json["experiment"]["variations"][1]["conversions"], serde_json::json!(200));
    assert_eq!(json["sound"], serde_json::json!(true));
}

#[test]
fn without_buyers_there_is_no_effect() {
    let none = Experiment::of(&Trial::default());
    assert!(none.effect.is_none() && none.sample_ratio.is_none() && none.variations.iter().all(|arm| arm.rate.is_none()));
}

#[test]
fn digits_stand_in_threes() {
    for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")] {
        assert_eq!(grouped(number), text);
    }
}
