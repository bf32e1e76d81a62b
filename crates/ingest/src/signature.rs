//! Requests that servers sign: proof that who sends has the secret of the key, and that nobody changed the body on the way.
//!
//! The header `X-Tidegate-Signature` is `t=SECONDS,v1=HEX`: the time of signing since 1970, and HMAC-SHA-256 (RFC 2104) of `SECONDS`, `.` and the body as it is sent, keyed with the secret as it is
//! written. There may be several `v1`. It is looked at for keys that ask for it, before anything of the body is unpacked.
//!
//! Secrets are stored nowhere. Each is made of the gate's signing key and the digest of the write key, so a file of digests that is stolen signs nothing.

use axum::http::{HeaderMap, HeaderName};
use contract::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::Error;
use crate::keys::KeyDigest;

/// The header with the signature.
pub const HEADER: HeaderName = HeaderName::from_static("x-tidegate-signature");

/// How far the time of signing may be from ours, in seconds: clocks differ, and requests wait.
const APART_SECONDS_MAX: u64 = 300;
/// More signatures than one for each secret that is in use are of no use.
const SIGNATURES_MAX: usize = 8;

/// What the secrets of all signed keys are made of. Not `Debug` in its content.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret that belongs to a write key.
    pub fn secret(&self, key: &KeyDigest) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(b"tidegate 2026-11 signing secret v1").update(key.as_bytes());
        format!("tgs_{}", hasher.finalize().to_hex())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// Signs a body as it is sent: the value of the header [`HEADER`].
pub fn sign(secret: &str, body: &[u8], now: Timestamp) -> String {
    let seconds = now.0.div_euclid(1_000_000).to_string();
    let signature = mac(secret, &seconds, body).map(|mac| hex(&mac.finalize().into_bytes()));
    // A secret of any length is a key.
    format!("t={seconds},v1={}", signature.unwrap_or_default())
}

/// Whether one of the signatures is right, and fresh.
///
/// # Errors
///
/// [`Error::MissingSignature`], [`Error::InvalidSignature`], [`Error::StaleSignature`].
pub(crate) fn verify(secret: &str, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Error> {
    let value = headers.get(HEADER).ok_or(Error::MissingSignature)?.to_str().map_err(|_| Error::InvalidSignature)?;
    let parts = || value.split(',').filter_map(|part| part.trim().split_once('='));
    let (_, seconds) = parts().find(|(name, _)| *name == "t").ok_or(Error::InvalidSignature)?;
    // Digits and nothing else, for what is signed is the text.
    if seconds.is_empty() || !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::InvalidSignature);
    }
    let signatures = parts().filter(|(name, _)| *name == "v1").take(SIGNATURES_MAX);
    let is_right = signatures.into_iter().any(|(_, signature)| {
        let bytes: Option<[u8; 32]> = contract::erasure::from_hex(signature);
        // In constant time.
        bytes.is_some_and(|bytes| mac(secret, seconds, body).is_some_and(|mac| mac.verify_slice(&bytes).is_ok()))
    });
    if !is_right {
        return Err(Error::InvalidSignature);
    }
    let signed_at: i64 = seconds.parse().map_err(|_| Error::InvalidSignature)?;
    if now.0.div_euclid(1_000_000).abs_diff(signed_at) > APART_SECONDS_MAX { Err(Error::StaleSignature) } else { Ok(()) }
}

fn mac(secret: &str, seconds: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(seconds.as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_428_000_123_456);

    fn check(secret: &str, value: Option<&str>, body: &str, now: Timestamp) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(HEADER, HeaderValue::from_str(value).unwrap());
        }
        verify(secret, &headers, body.as_bytes(), now).map_err(|error| match error {
            Error::MissingSignature => "missing",
            Error::InvalidSignature => "invalid",
            Error::StaleSignature => "stale",
            _ => "other",
        })
    }

    #[test]
    fn a_signature_holds_for_a_body_a_secret_and_a_while() {
        // Made by `printf '1795428000.[]' | openssl dgst -sha256 -hmac tgs_secret`.
        let known = "t=1795428000,v1=476c6a06c7e963e58dd19f9ea7be3539013ee642684bd76c7371a63de42451cf";
        assert_eq!(sign("tgs_secret", b"[]", NOW), known);
        assert_eq!(check("tgs_secret", Some(known), "[]", NOW), Ok(()));
        assert_eq!(check("tgs_secret", None, "[]", NOW), Err("missing"));
        assert_eq!(check("tgs_other", Some(known), "[]", NOW), Err("invalid"));
        assert_eq!(check("tgs_secret", Some(known), "[ ]", NOW), Err("invalid"));
        let later = |seconds: i64| Timestamp(NOW.0 + seconds * 1_000_000);
        assert_eq!(check("tgs_secret", Some(known), "[]", later(300)), Ok(()));
        assert_eq!(check("tgs_secret", Some(known), "[]", later(301)), Err("stale"));
        assert_eq!(check("tgs_secret", Some(known), "[]", later(-301)), Err("stale"));
        let two = format!("v1={},{known}", "0".repeat(64));
        assert_eq!(check("tgs_secret", Some(&two), "[]", NOW), Ok(()), "one of several");
        let many = format!("{}{known}", format!("v1={},", "0".repeat(64)).repeat(SIGNATURES_MAX));
        assert_eq!(check("tgs_secret", Some(&many), "[]", NOW), Err("invalid"), "as many as anybody needs");
        for broken in ["", "t=", "v1=", "t=1795428000", "t=+1795428000,v1=00", "t=1795428000,v1=zz", "t=99999999999999999999,v1=00"] {
            assert_eq!(check("tgs_secret", Some(broken), "[]", NOW), Err("invalid"), "{broken}");
        }
    }

    #[test]
    fn each_key_has_a_secret_of_its_own_and_of_the_gates() {
        let digest = |key: &str| key.parse::<crate::WriteKey>().unwrap().digest();
        let (one, other) = (SigningKey::new([1; 32]), SigningKey::new([2; 32]));
        let secret = one.secret(&digest("k1"));
        assert!(secret.starts_with("tgs_") && secret.len() == 68, "{secret}");
        assert_eq!(secret, one.secret(&digest("k1")));
        assert_ne!(secret, one.secret(&digest("k2")));
        assert_ne!(secret, other.secret(&digest("k1")));
        assert_eq!(format!("{one:?}"), "SigningKey(..)");
    }
}
