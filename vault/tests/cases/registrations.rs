//! Registrations.

use bytes::Bytes;
use lockstone_proto::access::{Admission, Registration, SignedAdmission, SignedRegistration};
use prost::Message;
use serde_json::json;

use super::{Cases, DOMAIN, SERVER, SMALL_ORDER, VAULT, public, sign, with};

/// What the good registration is made of.
fn parts() -> (Admission, Registration) {
    let admission = Admission {
        version: 1,
        vault_id: Bytes::copy_from_slice(VAULT.as_bytes()),
        credential_id: vec![0x22; 16].into(),
        admission_key: public(2),
        region: 1,
        issued_s: 1_799_999_000,
        expires_s: 1_800_863_000,
        tenant: String::new(),
        least_version: "0.1.0".to_owned(),
    };
    let registration = Registration {
        version: 1,
        vault_id: Bytes::copy_from_slice(VAULT.as_bytes()),
        server_id: Bytes::copy_from_slice(SERVER.as_bytes()),
        name: "web-1".to_owned(),
        domain_id: Bytes::copy_from_slice(DOMAIN.as_bytes()),
        signing_key: public(3),
        registered_s: 1_799_999_500,
        machine: Bytes::new(),
    };
    (admission, registration)
}

/// A registration with good signatures.
fn build(admission: Vec<u8>, registration: Vec<u8>) -> SignedRegistration {
    let context = "lockstone v1 registration\0";
    SignedRegistration {
        admission_signature: sign(2, context, &registration),
        server_signature: sign(3, context, &registration),
        registration: registration.into(),
        admission: Some(SignedAdmission {
            signature: sign(1, "lockstone v1 admission\0", &admission),
            admission: admission.into(),
        }),
    }
}

pub(crate) fn registrations(cases: &mut Cases) {
    let (admission, registration) = parts();
    let (encoded, admitted) = (registration.encode_to_vec(), admission.encode_to_vec());
    let mut add = |accepted, why: &str, object: Vec<u8>| {
        cases.add("registration", accepted, why, &object, json!({}));
    };
    let named = |name: &str| with(registration.clone(), |it| it.name = name.to_owned()).encode_to_vec();
    let good = build(admitted.clone(), encoded.clone());
    add(true, "a registration", good.encode_to_vec());
    add(false, "no name", build(admitted.clone(), named("")).encode_to_vec());
    add(
        false,
        "256 bytes of name",
        build(admitted.clone(), named(&"x".repeat(256))).encode_to_vec(),
    );
    for name in ["a\n", "a\u{7f}", "a\u{85}"] {
        add(
            false,
            "a control character in the name",
            build(admitted.clone(), named(name)).encode_to_vec(),
        );
    }
    let changed = |change: &dyn Fn(&mut Registration)| {
        let mut changed = registration.clone();
        change(&mut changed);
        build(admitted.clone(), changed.encode_to_vec()).encode_to_vec()
    };
    add(false, "version 2", changed(&|it| it.version = 2));
    add(
        false,
        "another vault's",
        changed(&|it| it.vault_id = vec![0; 16].into()),
    );
    add(
        false,
        "another server's",
        changed(&|it| it.server_id = vec![0; 16].into()),
    );
    add(
        false,
        "after the admission's time",
        changed(&|it| it.registered_s = 1_800_863_000),
    );
    add(
        false,
        "301 s before the admission's time",
        changed(&|it| it.registered_s = 1_799_998_699),
    );
    add(
        true,
        "300 s before the admission's time",
        changed(&|it| it.registered_s = 1_799_998_700),
    );
    add(
        false,
        "an unknown field",
        build(admitted.clone(), [&encoded[..], &[0x48, 1]].concat()).encode_to_vec(),
    );
    add(
        false,
        "an admission with an unknown field",
        build([&admitted[..], &[0x50, 1]].concat(), encoded.clone()).encode_to_vec(),
    );
    add(
        false,
        "a field behind the signatures",
        [&good.encode_to_vec()[..], &[0x28, 1]].concat(),
    );
    machines_and_admissions(&admission, &registration, &mut add);
    for region in [0, 2, 3] {
        let admission = Admission {
            region,
            ..admission.clone()
        }
        .encode_to_vec();
        add(
            false,
            "an admission for another region",
            build(admission, encoded.clone()).encode_to_vec(),
        );
    }
    // With a key of small order, R = the same point and S = 0 fit many messages unless a reader is strict.
    let weak = with(registration.clone(), |it| it.signing_key = SMALL_ORDER.to_vec().into()).encode_to_vec();
    let mut forged = build(admitted.clone(), weak);
    forged.server_signature = [SMALL_ORDER, [0; 32]].concat().into();
    add(false, "a key of small order", forged.encode_to_vec());
    let mut large = good.clone();
    large.server_signature = plus_order(&large.server_signature).into();
    add(
        false,
        "a signature whose S is not below the order of the group",
        large.encode_to_vec(),
    );
}

/// What a machine is called, and what an admission says beside its keys and times.
fn machines_and_admissions(
    admission: &Admission,
    registration: &Registration,
    add: &mut dyn FnMut(bool, &str, Vec<u8>),
) {
    let encoded = registration.encode_to_vec();
    let machine = |name: &[u8]| {
        let changed = with(registration.clone(), |it| it.machine = name.to_vec().into());
        build(admission.encode_to_vec(), changed.encode_to_vec()).encode_to_vec()
    };
    add(true, "with a machine", machine(&[6; 16]));
    add(false, "a machine of 15 bytes", machine(&[6; 15]));
    let admitted_by = |change: &dyn Fn(&mut Admission)| {
        let mut changed = admission.clone();
        change(&mut changed);
        build(changed.encode_to_vec(), encoded.clone()).encode_to_vec()
    };
    add(
        true,
        "with a tenant",
        admitted_by(&|it| it.tenant = "someone".to_owned()),
    );
    for tenant in ["x".repeat(256), "a\nb".to_owned()] {
        let object = admitted_by(&|it| it.tenant.clone_from(&tenant));
        add(false, "a tenant of 256 bytes, or with a control character", object);
    }
    for version in ["", "1", "1.2", "01.2.3", "1.2.3-rc"] {
        let object = admitted_by(&|it| version.clone_into(&mut it.least_version));
        add(false, "a least version that is not three numbers", object);
    }
}

/// The signature with the group's order added to its second half: another encoding of the same signature.
pub(crate) fn plus_order(signature: &[u8]) -> Vec<u8> {
    let mut order = hex::decode("edd3f55c1a631258d69cf7a2def9de14").unwrap();
    order.extend([0; 15]);
    order.push(0x10);
    let (mut out, mut carry) = (signature[..32].to_vec(), 0);
    for (a, b) in signature[32..].iter().zip(order) {
        let sum = u16::from(*a) + u16::from(b) + carry;
        out.push(sum as u8);
        carry = sum >> 8;
    }
    out
}
