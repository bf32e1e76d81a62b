//! What a subject sees, and what is told of it.

use open_feature::{EvaluationContext, EvaluationErrorCode, EvaluationReason, OpenFeature};
use serde_json::{Value, json};
use tidegate_sdk::openfeature::TidegateProvider;
use tidegate_sdk::{Experiment, Scope, Subject};

use crate::gate::Gate;
use crate::helpers::{SOON, balanced, client};

/// Who saw what.
fn seen(gate: &Gate) -> Vec<Value> {
    let field = |event: &Value, name: &str| event.get(name).cloned().unwrap_or_default();
    gate.events()
        .iter()
        .map(|event| {
            assert_eq!(event["event_type"], "feature_exposure");
            json!([event["properties"]["experiment_id"], field(event, "user_id"), field(event, "anonymous_id"), field(event, "session_id")])
        })
        .collect()
}

#[test]
fn an_exposure_is_logged_once_a_session() {
    let gate = Gate::start();
    let checkout = Experiment::new("checkout", ["control", "treatment"]);
    let banner = Experiment::new("banner", ["off", "on"]).weights([0.0, 1.0]).subject(Subject::AnonymousId);
    let nobody = Experiment::new("nobody", ["a", "b"]).coverage(0.0);
    let client = client(&gate.url).experiments([checkout, banner, nobody]).build().unwrap();
    let user = |id: &str| Scope::new().user_id(id);
    for session in ["s1", "s1", "s2", "s1"] {
        assert_eq!(client.variation("checkout", &user("user-1").session_id(session)), Some("treatment"));
    }
    let both = user("user-2").anonymous_id("a1");
    assert!(client.variation("checkout", &both).is_some() && client.variation("checkout", &both).is_some());
    assert_eq!(client.variation("banner", &both), Some("on"));
    assert_eq!(client.variation("banner", &user("user-1")), None, "without the id that is assigned");
    assert_eq!(client.variation("nobody", &user("user-1")), None);
    assert_eq!(client.variation("unknown", &user("user-1")), None);
    assert!(client.flush(SOON));
    client.opt_out();
    assert!(client.variation("checkout", &user("user-3")).is_some());
    client.opt_in();
    assert!(client.variation("checkout", &user("user-3")).is_some());
    assert!(client.flush(SOON));
    balanced(&client);
    assert_eq!(
        seen(&gate),
        [
            json!(["checkout", "user-1", null, "s1"]),
            json!(["checkout", "user-1", null, "s2"]),
            json!(["checkout", "user-2", "a1", null]),
            json!(["banner", "user-2", "a1", null]),
            json!(["checkout", "user-3", null, null]),
        ]
    );
}

#[test]
fn flags_of_openfeature_are_variations() {
    let gate = Gate::start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(ask_openfeature(&gate.url));
    assert_eq!(seen(&gate), [json!(["checkout", "u1", null, "s1"]), json!(["banner", null, "a1", null])]);
}

async fn ask_openfeature(url: &str) {
    let experiments = [
        Experiment::new("checkout", ["control", "treatment"]).weights([0.0, 1.0]),
        Experiment::new("quiet", ["control", "treatment"]).coverage(0.0),
        Experiment::new("banner", ["off", "on"]).weights([1.0, 0.0]).subject(Subject::AnonymousId),
    ];
    let client = client(url).experiments(experiments).build().unwrap();
    let mut api = OpenFeature::default();
    api.set_provider(TidegateProvider::new(client.clone())).await;
    let flags = api.create_client();
    let user = EvaluationContext::default().with_targeting_key("u1").with_custom_field("session_id", "s1");
    let text = flags.get_string_details("checkout", Some(&user), None).await.unwrap();
    assert_eq!(
        (text.value.as_str(), text.variant.as_deref(), text.reason),
        ("treatment", Some("treatment"), Some(EvaluationReason::Split))
    );
    assert!(flags.get_bool_value("checkout", Some(&user), None).await.unwrap());
    let device = EvaluationContext::default().with_custom_field("anonymous_id", "a1");
    assert!(!flags.get_bool_value("banner", Some(&device), None).await.unwrap());
    let check = |found: Option<EvaluationErrorCode>, expect| assert_eq!(found, Some(expect));
    let quiet = flags.get_string_value("quiet", Some(&user), None).await;
    check(quiet.err().map(|error| error.code), EvaluationErrorCode::General("GENERAL".to_owned()));
    let unknown = flags.get_string_value("unknown", Some(&user), None).await;
    check(unknown.err().map(|error| error.code), EvaluationErrorCode::FlagNotFound);
    let nobody = flags.get_bool_value("checkout", None, None).await;
    check(nobody.err().map(|error| error.code), EvaluationErrorCode::TargetingKeyMissing);
    check(flags.get_int_value("checkout", Some(&user), None).await.err().map(|error| error.code), EvaluationErrorCode::TypeMismatch);
    check(flags.get_float_value("unknown", Some(&user), None).await.err().map(|error| error.code), EvaluationErrorCode::FlagNotFound);
    assert!(client.close_async(SOON).await);
}
