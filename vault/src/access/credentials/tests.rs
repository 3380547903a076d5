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
        tenant: Some("someone".to_owned()),
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
    assert_eq!((read.tenant(), read.issued()), (Some("someone"), now()));
    assert!(read.least_version() <= Version::of_this_program());
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

/// Credentials whose admission the operator signed after this change.
fn changed(change: impl FnOnce(&mut Admission), more: &[u8]) -> Result<VaultCredentials, CredentialsError> {
    let operator = OperatorKey::generate().unwrap();
    let mut record = operator.issue(&issue(Region::Primary)).unwrap().record;
    let signed = record.admission.as_mut().unwrap();
    let mut admission = Admission::decode(signed.admission.clone()).unwrap();
    change(&mut admission);
    signed.admission = [&admission.encode_to_vec()[..], more].concat().into();
    let signature = operator.key.sign(&[ADMISSION_CONTEXT, &signed.admission].concat());
    signed.signature = Bytes::copy_from_slice(&signature.to_bytes());
    VaultCredentials::from_record(record)
}

#[test]
fn credentials_of_a_newer_version_are_told_apart() {
    let newer = changed(|it| it.version = FORMAT_VERSION + 1, &[]).unwrap_err();
    assert!(matches!(newer, CredentialsError::Newer), "{newer}");
    // An older program does not know what a newer one adds, but it can read which version it takes.
    let field = [0x52, 1, b'x'];
    let too_old = changed(|it| "99.0.0".clone_into(&mut it.least_version), &field).unwrap_err();
    assert!(
        matches!(&too_old, CredentialsError::TooOld(least) if least == "99.0.0"),
        "{too_old}"
    );
    for error in [newer, too_old] {
        assert!(error.to_string().ends_with("update lockstone"), "{error}");
        assert_eq!(error.hint(), Some("install the newest `lockstone` on this machine"));
    }
    let unknown = changed(|_| {}, &field).unwrap_err();
    assert!(matches!(unknown, CredentialsError::Malformed { .. }), "{unknown}");
}

#[test]
fn a_version_is_three_numbers() {
    let own: Version = "1.2.30".parse().unwrap();
    assert!(own > "1.2.4".parse().unwrap() && own < "2.0.0".parse().unwrap());
    for wrong in ["", "1.2", "1.2.3.4", "01.2.3", "+1.2.3", "1.2.3-rc", "1.2.x"] {
        assert!(wrong.parse::<Version>().is_err(), "{wrong}");
        let refused = changed(|it| wrong.clone_into(&mut it.least_version), &[]);
        assert!(matches!(refused, Err(CredentialsError::Malformed { .. })), "{wrong}");
    }
    for tenant in ["x".repeat(256), "a\nb".to_owned()] {
        assert!(changed(|it| it.tenant = tenant.clone(), &[]).is_err());
    }
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
