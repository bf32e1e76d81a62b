use serde_json::{Value, json};

use super::*;

fn metrics() -> BTreeMap<String, Metric> {
    let metrics = json!({
        "buyers": {"type": "proportion", "event": {"event_type": "order"}},
        "revenue": {"type": "sum", "event": {"event_type": "order"}, "property": "value", "cap": 50},
    });
    serde_json::from_value(metrics).unwrap()
}

fn definition(change: impl FnOnce(&mut Value)) -> Result<Definition, serde_json::Error> {
    let mut definition = json!({
        "key": "checkout-button",
        "variations": [{"key": "control", "weight": 0.5}, {"key": "treatment", "weight": 0.5}],
        "start": "2026-11-01",
        "metrics": {"primary": ["buyers"], "guardrail": ["revenue"]},
    });
    change(&mut definition);
    serde_json::from_value(definition)
}

#[test]
fn what_is_left_out_has_a_sound_value() {
    let read = definition(|_| {}).unwrap();
    let experiment = Experiment::new(read, &metrics()).unwrap();
    assert_eq!(experiment.table_name(), "checkout_button");
    let definition = &experiment.definition;
    assert_eq!(definition.start.to_rfc3339(), "2026-11-01T00:00:00+00:00");
    assert_eq!((definition.end, definition.attribution_days, definition.before_days), (None, 14, 0));
    assert_eq!(definition.exposure.event_type, "feature_exposure");
    let roles: Vec<(Role, &str)> = experiment.metrics.iter().map(|(role, metric)| (*role, metric.name.as_str())).collect();
    assert_eq!(roles, [(Role::Primary, "buyers"), (Role::Guardrail, "revenue")]);
    // As it goes to another engine and comes back.
    let again: Experiment = serde_json::from_str(&serde_json::to_string(&experiment).unwrap()).unwrap();
    assert_eq!(again, experiment);
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let check = |change: fn(&mut Value), part: &str| {
        let error = Experiment::new(definition(change).unwrap(), &metrics()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(|d| d["key"] = json!("-"), "key: `-` must begin with a letter or digit");
    check(|d| d["key"] = json!("a".repeat(37)), "at most 36 characters");
    check(|d| d["variations"] = json!([{"key": "a", "weight": 1.0}]), "variations: there must be 2 to 20");
    check(|d| d["variations"][1]["key"] = json!("control"), "number 2 needs a key that no other one has");
    check(|d| d["variations"][1]["weight"] = json!(0.7), "the weights are 1.2 together");
    check(|d| d["variations"][1]["weight"] = json!(0), "the weight of treatment must be between 0 and 1");
    check(|d| d["end"] = json!("2026-11-01T00:00:00Z"), "end: it must be after the start");
    check(|d| d["attribution_days"] = json!(0), "attribution_days: must be 1 to 90");
    check(|d| d["before_days"] = json!(91), "before_days: must be 0 to 90");
    check(|d| d["metrics"]["primary"] = json!([]), "metrics.primary: name the metric that decides");
    check(|d| d["metrics"]["primary"] = json!(["nothing"]), "there is no metric nothing; there are buyers, revenue");
    check(|d| d["metrics"]["secondary"] = json!(["buyers"]), "the metric buyers is named twice");
    check(|d| d["segments"] = json!({"all": {"column": "os"}}), "give it another name");
    check(|d| d["segments"] = json!({"A": {"column": "os"}}), "segments: `A` must have at most 40 lower case letters");
    check(|d| d["segments"] = json!({"a": {"column": "os; DROP"}}), "segments.a: `os; DROP` is no column");
    check(|d| d["assignment"] = json!({"hash_version": 3}), "assignment.hash_version: must be 1 or 2");
    check(|d| d["assignment"] = json!({"coverage": 1.5}), "assignment.coverage: must be 0 to 1");
    check(|d| d["assignment"] = json!({"namespace": {"name": "n", "from": 0.5, "to": 0.5}}), "assignment.namespace: needs a name");
    check(|d| d["assignment"] = json!({"holdout": {"name": "", "share": 0.1}}), "assignment.holdout: needs a name");
    check(|d| d["analysis"] = json!({"confidence": 95}), "analysis.confidence: must be above 0.5 and below 1");
    check(|d| d["analysis"] = json!({"tightest_at_subjects": 0}), "analysis.tightest_at_subjects");
    check(|d| d["analysis"] = json!({"prior_standard_deviation": 0}), "analysis.prior_standard_deviation");
    check(|d| d["analysis"] = json!({"lift_worth_finding": 0}), "analysis.lift_worth_finding");
    let unread = |change: fn(&mut Value), part: &str| {
        let error = definition(change).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    unread(|d| d["start"] = json!("soon"), "`soon` is no time; write 2026-11-01");
    unread(|d| d["starts"] = json!("2026-11-01"), "unknown field `starts`");
    unread(|d| d["segments"] = json!({"a": {"colum": "os"}}), "unknown variant `colum`");
}

#[test]
fn metrics_that_cannot_be_made_are_refused() {
    let check = |metric: Value, part: &str| {
        let metrics = BTreeMap::from([("buyers".to_owned(), serde_json::from_value(metric).unwrap())]);
        let read = definition(|d| d["metrics"] = json!({"primary": ["buyers"]})).unwrap();
        let error = Experiment::new(read, &metrics).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("metric buyers: ") && error.contains(part), "{error}");
    };
    let order = json!({"event_type": "order"});
    check(json!({"type": "count"}), "event: say which events count");
    check(json!({"type": "sum", "event": order}), "property: name the property");
    check(json!({"type": "count", "event": order, "property": "value"}), "property: nothing is summed up");
    check(json!({"type": "ratio", "event": order}), "per: a ratio needs");
    check(json!({"type": "count", "event": order, "per": order}), "per: a ratio needs");
    check(json!({"type": "retention"}), "day: a retention needs");
    check(json!({"type": "retention", "day": 14}), "it needs 15 days after the first exposure, and attribution_days is 14");
    check(json!({"type": "retention", "day": 1, "within_days": 3}), "within_days: the day says it");
    check(json!({"type": "funnel", "steps": [order]}), "steps: a funnel has 2 to 20");
    check(json!({"type": "funnel", "steps": [order, {}]}), "steps, number 2: say which events it is");
    check(json!({"type": "funnel", "event": order, "steps": [order, order]}), "event: the steps say which");
    check(json!({"type": "proportion", "event": order, "cap": 3}), "cap, winsorize and quantiles are of a count or a sum");
    check(json!({"type": "count", "event": order, "cap": 0}), "cap: must be above 0");
    check(json!({"type": "count", "event": order, "cap": 3, "winsorize": 0.9}), "one of them is enough");
    check(json!({"type": "count", "event": order, "quantiles": [1.0]}), "winsorize and quantiles are shares");
    check(json!({"type": "count", "event": order, "within_days": 0}), "it needs 0 days");
    check(json!({"type": "count", "event": {"properties": {"a": []}}}), "event.properties.a: write a value");
    check(json!({"type": "count", "event": {"properties": {"a": {}}}}), "event.properties.a: write a value");
}

#[test]
fn events_are_sql_that_every_engine_reads() {
    let check = |events: Value, expect: &str| assert_eq!(serde_json::from_value::<Events>(events).unwrap().sql(), expect);
    check(json!({}), "TRUE");
    check(json!({"event_type": "it's"}), "event_type = 'it''s'");
    check(json!({"event_type": "a\\b"}), "event_type = concat('a', chr(92), 'b')");
    check(
        json!({"properties": {"a": "x", "b": 2, "c": true, "d": false}}),
        "json_text(properties, 'a') = 'x' AND json_number(properties, 'b') = CAST('2' AS DOUBLE) AND json_boolean(properties, 'c') AND NOT json_boolean(properties, 'd')",
    );
    check(
        json!({"properties": {"a": ["x", 1.5]}}),
        "(json_text(properties, 'a') = 'x' OR json_number(properties, 'a') = CAST('1.5' AS DOUBLE))",
    );
    check(
        json!({"properties": {"a": {"at_least": 1, "at_most": 2}}}),
        "json_number(properties, 'a') >= CAST('1' AS DOUBLE) AND json_number(properties, 'a') <= CAST('2' AS DOUBLE)",
    );
    check(json!({"event_type": "a", "where": "os = 'x' OR os = 'y'"}), "event_type = 'a' AND (os = 'x' OR os = 'y')");
}
