use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_credential_types::provider::{ProvideCredentials, Result as Provided, future};

use super::*;

const HOUR: i64 = 60 * 60 * 1000;
const MINUTE: i64 = 60 * 1000;

/// Gives the keys of one call after the other: `Some` expires then, `None` is no answer.
#[derive(Debug)]
struct Script {
    answers: Vec<Option<i64>>,
    calls: AtomicUsize,
}

impl ProvideCredentials for Script {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let answer: Provided = match self.answers[call] {
            Some(expires) => {
                let expires = UNIX_EPOCH + Duration::from_millis(expires.unsigned_abs());
                Ok(Credentials::new(format!("key-{call}"), "secret", None, Some(expires), "script"))
            }
            None => Err(CredentialsError::provider_error("no answer")),
        };
        future::ProvideCredentials::ready(answer)
    }
}

#[tokio::test]
async fn keys_are_renewed_before_they_expire() {
    let answers = vec![Some(HOUR), Some(2 * HOUR), None, None, Some(4 * HOUR), None];
    let renewed = Renewed::new(SharedCredentialsProvider::new(Script { answers, calls: AtomicUsize::new(0) }));
    let check = async |now: i64, expect: Option<&str>| {
        let found = renewed.ask(now).await.map(|keys| keys.key_id.clone());
        assert_eq!(found.as_deref().ok(), expect, "at {now}");
    };
    check(0, Some("key-0")).await;
    check(54 * MINUTE, Some("key-0")).await;
    check(55 * MINUTE, Some("key-1")).await;
    // Whoever has new ones does not answer: the old ones do, and he is not asked again at once.
    check(116 * MINUTE, Some("key-1")).await;
    check(116 * MINUTE + 9_000, Some("key-1")).await;
    check(117 * MINUTE, Some("key-1")).await;
    check(118 * MINUTE, Some("key-4")).await;
    check(5 * HOUR, None).await;
}

#[test]
fn keys_of_the_environment_come_in_pairs() {
    let check = |variables: &[(&str, &str)], expect: Result<Option<(&str, Option<&str>)>, &str>| {
        let found = of_environment(&variables.iter().copied().collect());
        match (&found, expect) {
            (Ok(found), Ok(expect)) => {
                assert_eq!(found.as_ref().map(|keys| (keys.key_id.as_str(), keys.token.as_deref())), expect, "{variables:?}");
            }
            (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
            _ => panic!("{variables:?}: {found:?}"),
        }
    };
    check(&[], Ok(None));
    check(&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")], Ok(None));
    check(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s")], Ok(Some(("a", None))));
    check(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")], Ok(Some(("a", Some("t")))));
    check(&[("AWS_ACCESS_KEY_ID", "a")], Err("AWS_SECRET_ACCESS_KEY is not"));
    check(&[("AWS_SECRET_ACCESS_KEY", "s")], Err("AWS_ACCESS_KEY_ID is not"));
}

#[test]
fn nothing_prints_a_secret() {
    let environment: Environment = [("AWS_SECRET_ACCESS_KEY", "hush"), ("AWS_ACCESS_KEY_ID", "a")].into_iter().collect();
    let held = Held::of(&Credentials::new("a", "hush", Some("hush".to_owned()), None, "test"));
    assert!(![format!("{environment:?}"), format!("{held:?}")].iter().any(|text| text.contains("hush")));
}
