#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use jiff::Timestamp;
use lockstone_proto::ids::{ChunkId, PointId};

use super::*;
use crate::store::Refusal;

fn text() -> String {
    "text".to_owned()
}

fn store_errors() -> Vec<StoreError> {
    let refused = |what| StoreError::Refused {
        what,
        object: text(),
        reason: text(),
    };
    vec![
        StoreError::BadUrl {
            url: text(),
            reason: "",
        },
        StoreError::Unsupported {
            url: text(),
            scheme: text(),
        },
        StoreError::NoFolder { url: text() },
        StoreError::NotFound { object: text() },
        StoreError::ReadOnly { object: text() },
        StoreError::Permission {
            object: text(),
            reason: text(),
        },
        StoreError::Full { object: text() },
        StoreError::FileTooLong { object: text() },
        StoreError::TooLarge {
            object: text(),
            len: 2,
            max: 1,
        },
        StoreError::Short {
            object: text(),
            wanted: 2,
            found: 1,
        },
        StoreError::Unreachable {
            object: text(),
            reason: text(),
        },
        StoreError::Away {
            object: text(),
            waited: Duration::ZERO,
            reason: text(),
        },
        StoreError::Shortage {
            object: text(),
            reason: text(),
            waited: None,
        },
        StoreError::Shortage {
            object: text(),
            reason: text(),
            waited: Some(Duration::ZERO),
        },
        refused(Refusal::Keys),
        refused(Refusal::NotAllowed),
        refused(Refusal::Clock),
        refused(Refusal::NoBucket),
        refused(Refusal::Region),
        refused(Refusal::Tls),
        refused(Refusal::Proxy),
        StoreError::BadSetting {
            url: text(),
            reason: text(),
        },
        StoreError::Io {
            object: text(),
            reason: text(),
        },
    ]
}

fn index_errors() -> Vec<IndexError> {
    vec![
        IndexError::Busy { folder: text() },
        IndexError::Full { folder: text() },
        IndexError::Shortage {
            folder: text(),
            reason: text(),
        },
        IndexError::Io {
            folder: text(),
            reason: text(),
        },
        IndexError::Corrupt {
            folder: text(),
            reason: text(),
        },
    ]
}

fn credentials_errors() -> Vec<CredentialsError> {
    vec![
        CredentialsError::Malformed { what: "", why: text() },
        CredentialsError::Newer,
        CredentialsError::TooOld(text()),
        CredentialsError::NotSigned,
        CredentialsError::Expired(Timestamp::UNIX_EPOCH),
        CredentialsError::ExpiredAtStore(Timestamp::UNIX_EPOCH),
        CredentialsError::ExpiredAsSeen(Timestamp::UNIX_EPOCH),
        CredentialsError::Revoked {
            at: Timestamp::UNIX_EPOCH,
            reason: text(),
        },
        CredentialsError::NotYetValid(Timestamp::UNIX_EPOCH),
        CredentialsError::OtherVault,
        CredentialsError::WrongRegion { found: "", wanted: "" },
    ]
}

fn slot_errors() -> Vec<SlotError> {
    vec![
        SlotError::WrongKey,
        SlotError::Mistyped(""),
        SlotError::Damaged(""),
        SlotError::Version(2),
        SlotError::Kind,
        SlotError::Argon {
            memory_kib: 8,
            why: argon2::Error::MemoryTooMuch,
        },
    ]
}

fn own_errors() -> Vec<VaultError> {
    vec![
        VaultError::NotAVault { url: text() },
        VaultError::AlreadyAVault { url: text() },
        VaultError::NotEmpty { url: text() },
        VaultError::InsideVault {
            url: text(),
            around: text(),
        },
        VaultError::Unfit {
            url: text(),
            lines: Vec::new(),
        },
        VaultError::NewerFormat {
            object: text(),
            found: 2,
            known: 1,
        },
        VaultError::OtherVault { url: text() },
        VaultError::damaged(DamageKind::Pack, "x", "y"),
        VaultError::RolledBack {
            known: 1,
            found: text(),
        },
        VaultError::NewerFeature {
            object: text(),
            word: text(),
        },
        VaultError::WrongPassphrase,
        VaultError::WrongMachineKey,
        VaultError::WrongRecoveryKey,
        VaultError::NoSlot {
            domain: text(),
            kind: "machine",
        },
        VaultError::LostRace { n: 1 },
        VaultError::TooManyAttempts,
        VaultError::ReadOnly,
        VaultError::NotRegistered {
            server: text(),
            domain: text(),
        },
        VaultError::Revoked {
            at: Timestamp::UNIX_EPOCH,
            reason: text(),
        },
        VaultError::NoSuchPoint(text()),
        VaultError::AmbiguousPoint {
            prefix: text(),
            points: Vec::new(),
        },
        VaultError::BadPoint(text()),
        VaultError::TooLate(PointId([0; 16])),
        VaultError::Held {
            point: PointId([0; 16]),
            reason: text(),
        },
        VaultError::Deleted(PointId([0; 16])),
        VaultError::UnknownChunk(ChunkId([0; 32])),
    ]
}

/// One error of each variant, but those that only the operating system makes.
fn every_error() -> Vec<VaultError> {
    let mut all = own_errors();
    all.extend(store_errors().into_iter().map(VaultError::from));
    all.extend(index_errors().into_iter().map(VaultError::from));
    all.extend(credentials_errors().into_iter().map(VaultError::from));
    all.extend(slot_errors().into_iter().map(VaultError::from));
    all
}

#[test]
fn hints_are_written_in_one_style() {
    for error in every_error() {
        let Some(hint) = error.hint() else { continue };
        let first = hint.chars().next().unwrap();
        assert!(first == '`' || first.is_lowercase(), "begins in lower case: {hint}");
        assert!(!hint.ends_with('.'), "has no full stop: {hint}");
        assert_eq!(hint.matches('`').count() % 2, 0, "closes its backticks: {hint}");
        // Outside of backticks there is no command: the parts with an even number are outside.
        for outside in hint.split('`').step_by(2) {
            for command in ["lockstone ", "run:", "see:", "with:", "--"] {
                assert!(!outside.contains(command), "commands stand in backticks: {hint}");
            }
        }
    }
}

#[test]
fn each_kind_of_fault_is_told_apart_from_the_others() {
    let made: std::collections::HashSet<Kind> = every_error().iter().map(VaultError::kind).collect();
    assert_eq!(made, Kind::ALL.into_iter().collect());
}

#[test]
fn a_store_away_or_refusing_or_full_is_not_called_damaged() {
    let kind = |error: StoreError| VaultError::from(error).kind();
    assert_eq!(kind(StoreError::Full { object: text() }), Kind::StoreFull);
    assert_eq!(
        kind(StoreError::Unreachable {
            object: text(),
            reason: text()
        }),
        Kind::Away
    );
    assert_eq!(
        kind(StoreError::Permission {
            object: text(),
            reason: text()
        }),
        Kind::Refused
    );
    assert_eq!(kind(StoreError::NotFound { object: text() }), Kind::Damaged);
    assert_eq!(
        VaultError::from(IndexError::Full { folder: text() }).kind(),
        Kind::Shortage
    );
    assert_eq!(
        VaultError::from(CredentialsError::Expired(Timestamp::UNIX_EPOCH)).kind(),
        Kind::BadCredentials
    );
    assert_eq!(VaultError::from(SlotError::Damaged("")).kind(), Kind::Damaged);
}

#[test]
fn what_was_waited_for_in_vain_is_not_tried_again() {
    let transient: Vec<String> = every_error()
        .into_iter()
        .filter(VaultError::is_transient)
        .map(|error| format!("{error:?}").split([' ', '{']).next().unwrap().to_owned() + &error.to_string())
        .collect();
    assert_eq!(transient.len(), 5, "{transient:?}");
    let waited = StoreError::Shortage {
        object: text(),
        reason: text(),
        waited: Some(Duration::ZERO),
    };
    assert!(!waited.is_transient() && waited.kind() == Kind::Shortage);
    let away = StoreError::Away {
        object: text(),
        waited: Duration::ZERO,
        reason: text(),
    };
    assert!(!away.is_transient() && away.kind() == Kind::Away);
}
