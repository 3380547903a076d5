//! Secrets and the slots that they open, or do not.

use bytes::Bytes;
use lockstone_proto::vault::KeySlot;
use prost::Message;
use serde_json::json;

use lockstone_vault::crypto::keys::MasterKey;
use lockstone_vault::crypto::slots;
use lockstone_vault::testing::vectors::{fixed_other_slots, fixed_slot, sealed};

use super::{Cases, DOMAIN, MASTER, with};

/// A recovery slot, and its key in print. The key has characters that are easily mistaken.
fn recovery_slot(blank: KeySlot) -> (KeySlot, String) {
    let secret = [0x08; 32];
    let key = blake3::derive_key("lockstone v1 recovery slot", &[&secret[..], &blank.salt].concat());
    let blank = with(blank, |it| {
        it.commitment = Bytes::new();
        it.sealed_key = Bytes::new();
    });
    let slot = KeySlot {
        commitment: blake3::derive_key("lockstone v1 slot commitment", &key).to_vec().into(),
        sealed_key: sealed(&key, &blank.encode_to_vec(), &MASTER).into(),
        ..blank
    };
    let checksum = blake3::derive_key("lockstone v1 recovery key checksum", &secret);
    let bits: Vec<u8> = secret
        .iter()
        .chain(&checksum[..3])
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let letters: Vec<char> = bits
        .chunks(5)
        .map(|five| five.iter().fold(0, |value, bit| value << 1 | usize::from(*bit)))
        .map(|value| char::from(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[value]))
        .collect();
    let groups: Vec<String> = letters.chunks(7).map(|group| group.iter().collect()).collect();
    (slot, groups.join("-"))
}

pub(crate) fn secrets(cases: &mut Cases) {
    let master = MasterKey::from_bytes(MASTER);
    let passphrase = "correct horse battery staple";
    let typed = fixed_slot(&master, passphrase, DOMAIN);
    let (machine, (recovery, _)) = fixed_other_slots(&master, DOMAIN);
    let (recovery, printed) = recovery_slot(recovery);
    let mut add = |accepted, why: &str, slot: &KeySlot, secret: &str| {
        let more = json!({ "id": hex::encode(&slot.slot_id), "kind": slot.kind, "secret": secret });
        cases.add("secret", accepted, why, &slots::encode_slot(slot), more);
    };
    let damaged = |slot: &KeySlot| {
        with(slot.clone(), |it| {
            let mut sealed = it.sealed_key.to_vec();
            sealed[0] ^= 1;
            it.sealed_key = sealed.into();
        })
    };
    add(true, "a passphrase", &typed, passphrase);
    add(false, "another passphrase", &typed, "Correct horse battery staple");
    add(false, "a space behind it", &typed, "correct horse battery staple ");
    add(false, "a sealed key that was changed", &damaged(&typed), passphrase);
    let secret = hex::encode([0x77; 32]);
    add(true, "a machine's secret", &machine, &secret);
    add(false, "another machine's secret", &machine, &hex::encode([0x78; 32]));
    let changed = with(machine, |it| it.created_s += 1);
    add(false, "a field that was changed", &changed, &secret);

    add(true, "a recovery key", &recovery, &printed);
    add(true, "lower case", &recovery, &printed.to_lowercase());
    add(
        true,
        "spaces, tabs and ends of lines",
        &recovery,
        &format!(" {}\r\n", printed.replace('-', "\t")),
    );
    add(true, "no groups", &recovery, &printed.replace('-', ""));
    let letters = printed.replace('0', "o").replace('1', "l");
    add(true, "letters that look like digits", &recovery, &letters);
    add(
        true,
        "the others",
        &recovery,
        &printed.replace('0', "O").replace('1', "i"),
    );
    add(
        false,
        "a letter that no key has",
        &recovery,
        &printed.replacen(&printed[..1], "U", 1),
    );
    add(false, "55 characters", &recovery, &printed[..printed.len() - 1]);
    add(false, "57 characters", &recovery, &format!("{printed}0"));
    let swapped = if printed.ends_with('0') { "2" } else { "0" };
    let swapped = format!("{}{swapped}", &printed[..printed.len() - 1]);
    add(false, "a mistyped character", &recovery, &swapped);
    // What other characters look like, or become in upper case, does not count.
    add(
        false,
        "a space that is not ASCII",
        &recovery,
        &printed.replace('-', "\u{a0}"),
    );
    add(
        false,
        "a dash that is not ASCII",
        &recovery,
        &printed.replace('-', "\u{2013}"),
    );
    assert!(printed.contains('1') && printed.contains('0'), "{printed}");
    add(
        false,
        "an i without dot",
        &recovery,
        &printed.replacen('1', "\u{131}", 1),
    );
    add(false, "nothing", &recovery, "");
}
