//! Tests of `slots`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::testing::vectors::{CHEAP, fixed_slot};

const DOMAIN: DomainId = DomainId([1; 16]);

fn passphrase_of(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).unwrap()
}

fn master() -> MasterKey {
    MasterKey::from_bytes([9; 32])
}

#[test]
fn each_kind_of_slot_opens_with_its_own_secret_only() {
    let (right, wrong) = (
        passphrase_of("correct horse battery"),
        passphrase_of("correct horse batterz"),
    );
    let slot = wrap_with_passphrase(&master(), &right, CHEAP, DOMAIN).unwrap();
    assert_eq!(
        unwrap_with_passphrase(&slot, &right).unwrap().as_bytes(),
        master().as_bytes()
    );
    assert!(matches!(
        unwrap_with_passphrase(&slot, &wrong),
        Err(SlotError::WrongKey)
    ));
    assert!(matches!(unwrap_with_machine(&slot, &[7; 32]), Err(SlotError::Kind)));

    let slot = wrap_with_machine(&master(), &[7; 32], DOMAIN, ServerId([4; 16])).unwrap();
    assert_eq!(
        unwrap_with_machine(&slot, &[7; 32]).unwrap().as_bytes(),
        master().as_bytes()
    );
    assert!(matches!(unwrap_with_machine(&slot, &[8; 32]), Err(SlotError::WrongKey)));

    let (slot, printed) = wrap_with_recovery(&master(), DOMAIN).unwrap();
    assert_eq!(
        unwrap_with_recovery(&slot, &printed).unwrap().as_bytes(),
        master().as_bytes()
    );
    let (_, other) = wrap_with_recovery(&master(), DOMAIN).unwrap();
    assert!(matches!(unwrap_with_recovery(&slot, &other), Err(SlotError::WrongKey)));
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_slot_is_damage_and_not_a_wrong_key() {
    let slot = wrap_with_machine(&master(), &[7; 32], DOMAIN, ServerId([4; 16])).unwrap();
    let id = SlotId::try_from(&slot.slot_id[..]).unwrap();
    let object = encode_slot(&slot);
    assert_eq!(decode_slot(DOMAIN, id, &object).unwrap(), slot);
    for bit in 0..object.len() * 8 {
        let mut flipped = object.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(
            matches!(decode_slot(DOMAIN, id, &flipped), Err(SlotError::Damaged(_))),
            "bit {bit}"
        );
    }
    for len in 0..object.len() {
        assert!(
            matches!(decode_slot(DOMAIN, id, &object[..len]), Err(SlotError::Damaged(_))),
            "cut to {len}"
        );
    }
    assert!(decode_slot(DomainId([2; 16]), id, &object).is_err());
    assert!(decode_slot(DOMAIN, SlotId([2; 16]), &object).is_err());
}

#[test]
fn whatever_was_changed_with_its_checksum_does_not_open() {
    let slot = wrap_with_machine(&master(), &[7; 32], DOMAIN, ServerId([4; 16])).unwrap();
    let change: [fn(&mut KeySlot); 6] = [
        |slot| slot.slot_id = Bytes::copy_from_slice(&[0; 16]),
        |slot| slot.domain_id = Bytes::copy_from_slice(&[0; 16]),
        |slot| slot.created_s += 1,
        |slot| slot.server_id = Bytes::copy_from_slice(&[0; 16]),
        |slot| slot.sealed_key = Bytes::copy_from_slice(&[0; 48]),
        |slot| slot.salt = Bytes::copy_from_slice(&[0; 32]),
    ];
    for change in change {
        let mut changed = slot.clone();
        change(&mut changed);
        assert!(unwrap_with_machine(&changed, &[7; 32]).is_err());
    }
    assert!(unwrap_with_machine(&slot, &[7; 32]).is_ok());
}

#[test]
fn parameters_are_refused_before_argon_runs() {
    let right = passphrase_of("correct horse battery");
    let slot = fixed_slot(&master(), "correct horse battery", DOMAIN);
    let change: [fn(&mut KeySlot); 7] = [
        |slot| slot.argon_memory_kib = u32::MAX,
        |slot| slot.argon_memory_kib = ARGON_MAX_MEMORY_KIB + 1,
        |slot| slot.argon_memory_kib = 15,
        |slot| slot.argon_passes = ARGON_MAX_PASSES + 1,
        |slot| slot.argon_passes = 0,
        |slot| slot.argon_lanes = ARGON_MAX_LANES + 1,
        |slot| slot.argon_lanes = 0,
    ];
    for change in change {
        let mut changed = slot.clone();
        change(&mut changed);
        assert!(matches!(
            unwrap_with_passphrase(&changed, &right),
            Err(SlotError::Damaged(_))
        ));
    }
    assert!(matches!(
        unwrap_with_passphrase(&KeySlot { version: 2, ..slot }, &right),
        Err(SlotError::Version(2))
    ));
    let heavy = KdfParams {
        memory_kib: u32::MAX,
        ..CHEAP
    };
    assert!(wrap_with_passphrase(&master(), &right, heavy, DOMAIN).is_err());
}

#[test]
fn the_default_parameters_are_within_the_limits() {
    assert!(KdfParams::default().check().is_ok());
}

#[test]
fn passphrases_keep_the_rules() {
    assert!(Passphrase::new("sixteen letters!".into()).is_ok());
    assert_eq!(
        Passphrase::new("fifteen letters".into()).err(),
        Some(PassphraseError::TooShort(15))
    );
    assert_eq!(
        Passphrase::new("sixteen létters!".into()).err(),
        Some(PassphraseError::NotAscii)
    );
    assert_eq!(
        Passphrase::new("sixteen\tletters!".into()).err(),
        Some(PassphraseError::NotAscii)
    );
    assert_eq!(Passphrase::new(String::new()).err(), Some(PassphraseError::TooShort(0)));
}

proptest! {
    #[test]
    fn a_recovery_key_survives_paper(secret: [u8; 32], at in 0usize..56, letter in 0usize..32) {
        let printed = print_recovery(&secret);
        prop_assert_eq!(printed.len(), 56 + 7);
        prop_assert_eq!(*read_recovery(&printed).unwrap(), secret);
        let sloppy = printed.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        prop_assert_eq!(*read_recovery(&sloppy).unwrap(), secret);

        let mut mistyped: Vec<u8> = printed.bytes().filter(|byte| *byte != b'-').collect();
        if mistyped[at] != ALPHABET[letter] {
            mistyped[at] = ALPHABET[letter];
            let mistyped = String::from_utf8(mistyped).unwrap();
            prop_assert!(matches!(read_recovery(&mistyped), Err(SlotError::Mistyped(_))));
        }
        prop_assert!(read_recovery(&printed[1..]).is_err());
        let doubled = format!("{}{}", *printed, *printed);
        prop_assert!(read_recovery(&doubled).is_err());
    }
}
