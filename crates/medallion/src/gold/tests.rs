use serde_json::json;

use super::*;

#[test]
fn the_models_that_come_with_it_are_whole_and_each_follows_what_it_reads() {
    let models = built_in();
    assert_eq!(models.len(), 10, "one cannot be read");
    for (number, model) in models.iter().enumerate() {
        assert!(!model.about.is_empty() && !model.grain.is_empty(), "{}", model.name);
        for input in &model.reads {
            let is_earlier = models.iter().take(number).any(|other| other.name == input.table);
            let is_no_model = input.table.starts_with("silver.") || input.table == "dead_letters";
            assert!(is_no_model || is_earlier, "{} reads {}", model.name, input.table);
            assert!(
                model.sql.contains(&format!("FROM {}", input.table)) || model.sql.contains(&format!("JOIN {}", input.table)),
                "{}",
                model.name
            );
        }
        for key in &model.keys {
            assert!(model.sql.contains(key.as_str()), "{}: {key}", model.name);
        }
    }
}

#[test]
fn a_model_says_what_it_is() {
    let text = "-- Something,\n-- in two lines.\n--\n-- grain: a day\n-- keys: event_date, source\n-- reads: silver.events, 29 days before, 1 day after\n-- reads: \
                silver.exposures, all days before\n-- reads: gold.other, whole\n-- every: 5 minutes\nSELECT 1\n-- within\nFROM silver.events;\n";
    let model = Model::parse("x", text).unwrap();
    assert_eq!((model.name.as_str(), model.about.as_str(), model.grain.as_str()), ("gold.x", "Something, in two lines.", "a day"));
    assert_eq!((model.partition_by.as_str(), model.keys.len(), model.every), ("event_date", 2, Duration::from_secs(300)));
    let spans: Vec<Span> = model.reads.iter().map(|input| input.span).collect();
    let days = |before, after| Span::Days { before, after };
    assert_eq!(spans, [days(Some(29), Some(1)), days(None, Some(0)), Span::Whole]);
    assert_eq!(model.sql, "SELECT 1\n-- within\nFROM silver.events");
    let other = Model { about: "else".to_owned(), every: Duration::ZERO, ..model.clone() };
    assert_eq!(model.definition(), other.definition(), "words change no rows");
    assert_ne!(model.definition(), Model { sql: "SELECT 2".to_owned(), ..model.clone() }.definition());
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let head = "-- grain: a day\n-- keys: event_date\n-- reads: silver.events\n";
    let check = |name: &str, text: &str, line: usize, part: &str| {
        let error = Model::parse(name, text).unwrap_err();
        assert!(error.line == line && error.what.contains(part), "{error}");
    };
    let sound = format!("{head}SELECT 1");
    assert!(Model::parse("x", &sound).is_ok());
    for name in ["", "X", "1x", "x.y", "../x", &"x".repeat(61)] {
        check(name, &sound, 1, "cannot name a table");
    }
    check("x", head, 4, "no query");
    check("x", "", 1, "no query");
    check("x", "SELECT 1", 1, "grain");
    check("x", "-- grain: a\nSELECT 1", 2, "keys");
    check("x", "-- grain: a\n-- keys: a\nSELECT 1", 3, "reads");
    check("x", &format!("{head}-- partition: other\nSELECT 1"), 5, "none of its keys");
    check("x", &format!("{head}-- reads: silver.events, whole\nSELECT 1"), 4, "read twice");
    check("x", &format!("{head}-- reads: gold.x\nSELECT 1"), 5, "cannot read itself");
    check("x", &format!("{head}-- reads: bronze.events\nSELECT 1"), 4, "cannot be read by a model");
    check("x", &format!("{head}-- reads: gold.y, 3 weeks before\nSELECT 1"), 4, "3 weeks before");
    check("x", &format!("{head}-- reads: gold.y, 99999 days before\nSELECT 1"), 4, "no number of days");
    check("x", &format!("{head}-- every: 2 fortnights\nSELECT 1"), 4, "no time up to a day");
    check("x", "-- grain: a\n-- keys: a, b, a\nSELECT 1", 2, "named twice");
    check("x", "-- grain: a\n-- keys: a b\nSELECT 1", 2, "no name of a column");
}

#[test]
fn declared_models_are_made_into_sql() {
    let funnel = json!({"funnel": {"within_days": 7, "steps": [
        {"name": "view", "event_type": "page_view"},
        {"name": "it's bought", "event_type": "conversion", "where": "page_path = '/done'"},
    ]}});
    let model = serde_json::from_value::<Declared>(funnel).unwrap().model("checkout").unwrap();
    assert_eq!(
        (model.name.as_str(), model.keys.as_slice()),
        ("gold.checkout", ["event_date", "source", "step"].map(str::to_owned).as_slice())
    );
    assert_eq!(model.reads[0].span, Span::Days { before: Some(0), after: Some(7) });
    assert!(
        model.sql.contains("event_type = 'conversion' AND (page_path = '/done')") && model.sql.contains("'it''s bought'"),
        "{}",
        model.sql
    );
    let retention = json!({"retention": {"starts": {"event_type": "sign_up"}, "new_for_days": 90, "days": [1, 30]}});
    let model = serde_json::from_value::<Declared>(retention).unwrap().model("back").unwrap();
    assert_eq!(model.reads[0].span, Span::Days { before: Some(90), after: Some(30) });
    assert!(model.sql.contains("AS day_30"), "{}", model.sql);
}

#[test]
fn declarations_that_mean_nothing_are_refused() {
    let check = |declared: serde_json::Value, part: &str| {
        let outcome = serde_json::from_value::<Declared>(declared).map_err(|error| error.to_string());
        let error = outcome.and_then(|declared| declared.model("x").map_err(|error| error.what)).unwrap_err();
        assert!(error.contains(part), "{error}");
    };
    let step = |name: &str| json!({"name": name, "event_type": "x"});
    check(json!({"funnel": {"within_days": 7, "steps": [step("a")]}}), "2 to 20 steps");
    check(json!({"funnel": {"within_days": 0, "steps": [step("a"), step("b")]}}), "within_days must be 1 to 400");
    check(json!({"funnel": {"within_days": 7, "steps": [step("a"), step("a")]}}), "no other step has");
    check(json!({"funnel": {"within_days": 7, "steps": [step("a"), {"name": "b"}]}}), "needs an event_type or a where");
    check(json!({"funnel": {"within_days": 7, "step": []}}), "step");
    check(json!({"retention": {"starts": {}, "days": [1]}}), "starts needs");
    check(json!({"retention": {"starts": {"event_type": "x"}, "days": []}}), "1 to 20 days");
    check(json!({"retention": {"starts": {"event_type": "x"}, "days": [1, 1]}}), "named twice");
    check(json!({"cohort": {}}), "cohort");
}
