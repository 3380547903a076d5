//! Tests of credentials: what is refused, and why.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::*;

fn now() -> Timestamp {
    "2026-11-22T03:00:00Z".parse().unwrap()
}

fn issue(region: Region) -> Issue {
    Issue {
        region,
        url: "/srv/vault".into(),
        secondary_url: None,
        now: now(),
        valid_days: 10,
    }
}

#[test]
fn credentials_survive_their_text_form_and_expire() {
    let operator = OperatorKey::generate().unwrap();
    let text = operator.issue(&issue(Region::Primary)).unwrap().to_text();
    let read = VaultCredentials::parse(&text).unwrap();
    assert_eq!(read.vault_id(), operator.vault_id());
    assert_eq!(read.url(), "/srv/vault");
    assert_eq!(read.secondary_url(), None);
    assert!(read.check(now()).is_ok());
    assert!(read.check(now() + SignedDuration::from_hours(239)).is_ok());
    assert!(matches!(
        read.check(now() + SignedDuration::from_hours(240)),
        Err(CredentialsError::Expired(_))
    ));
    assert!(read.check(now() - SignedDuration::from_secs(200)).is_ok());
    assert!(matches!(
        read.check(now() - SignedDuration::from_hours(1)),
        Err(CredentialsError::NotYetValid(_))
    ));
    assert!(matches!(
        read.check_region(Region::Secondary),
        Err(CredentialsError::WrongRegion { .. })
    ));
    assert!(read.check_region(Region::Primary).is_ok());
}

#[test]
fn a_changed_credentials_file_is_refused_or_means_the_same() {
    let operator = OperatorKey::generate().unwrap();
    let good = operator.issue(&issue(Region::Primary)).unwrap();
    let bytes = good.record.encode_to_vec();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        // The URLs are hints and not signed: the vault behind them has to show the pinned operator's signature.
        if let Ok(read) = VaultCredentials::parse(&armor::write(CREDENTIALS_LABEL, &changed)) {
            assert_eq!(read.vault_id(), good.vault_id());
            assert_eq!(read.operator_key(), good.operator_key());
            assert_eq!(read.expires(), good.expires());
            assert_ne!(read.record, good.record);
        }
    }
    assert!(matches!(
        VaultCredentials::parse("hello"),
        Err(CredentialsError::Malformed { .. })
    ));
}

#[test]
fn credentials_of_another_operator_are_refused() {
    let (operator, other) = (OperatorKey::generate().unwrap(), OperatorKey::generate().unwrap());
    let mut record = operator.issue(&issue(Region::Primary)).unwrap().record;
    record.operator_key = Bytes::copy_from_slice(other.public().as_bytes());
    assert!(matches!(
        VaultCredentials::from_record(record),
        Err(CredentialsError::NotSigned)
    ));

    // Another admission key does not help either.
    let mut record = operator.issue(&issue(Region::Primary)).unwrap().record;
    record.admission_secret = Bytes::copy_from_slice(&[9; 32]);
    assert!(matches!(
        VaultCredentials::from_record(record),
        Err(CredentialsError::NotSigned)
    ));

    let vault = Descriptor {
        vault_id: operator.vault_id(),
        operator_key: other.public(),
        created: now(),
        regions: vec![],
        tenant: None,
        features: crate::access::descriptor::Features::of_new_vault(),
        soft_delete_days: 14,
    };
    let credentials = operator.issue(&issue(Region::Primary)).unwrap();
    assert!(matches!(
        credentials.check_vault(&vault),
        Err(CredentialsError::OtherVault)
    ));
}

#[test]
fn credentials_of_a_newer_version_are_told_apart() {
    let operator = OperatorKey::generate().unwrap();
    let mut record = operator.issue(&issue(Region::Primary)).unwrap().record;
    let signed = record.admission.as_mut().unwrap();
    let mut admission = Admission::decode(signed.admission.clone()).unwrap();
    admission.version = FORMAT_VERSION + 1;
    signed.admission = Bytes::from(admission.encode_to_vec());
    let signature = operator.key.sign(&[ADMISSION_CONTEXT, &signed.admission].concat());
    signed.signature = Bytes::copy_from_slice(&signature.to_bytes());
    let error = VaultCredentials::from_record(record).unwrap_err();
    assert!(matches!(error, CredentialsError::Newer), "{error}");
    assert_eq!(error.hint(), Some("install a newer version of lockstone"));
}

#[test]
fn an_operator_key_survives_its_text_form() {
    let operator = OperatorKey::generate().unwrap();
    let read = OperatorKey::from_text(&operator.to_text()).unwrap();
    assert_eq!(
        (read.vault_id(), read.public()),
        (operator.vault_id(), operator.public())
    );
    assert!(OperatorKey::from_text("").is_err());
    assert!(!format!("{operator:?}").contains(&hex::encode(operator.key.as_bytes())));
}
