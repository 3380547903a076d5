//! The operator's orders.

use bytes::Bytes;
use lockstone_proto::access::{Order, OrderKind, SignedOrder};
use prost::Message;
use serde_json::json;

use super::{Cases, DOMAIN, SERVER, VAULT, sign, with};

fn signed(seed: u8, order: Vec<u8>) -> Vec<u8> {
    let signature = sign(seed, "lockstone v1 order\0", &order);
    let order = order.into();
    SignedOrder { order, signature }.encode_to_vec()
}

fn end_server() -> Order {
    Order {
        version: 1,
        vault_id: Bytes::copy_from_slice(VAULT.as_bytes()),
        number: 3,
        time_s: 1_800_000_000,
        kind: OrderKind::EndServer.into(),
        reason: "stolen".to_owned(),
        server_id: Bytes::copy_from_slice(SERVER.as_bytes()),
        domain_id: Bytes::copy_from_slice(DOMAIN.as_bytes()),
        last_entry: 7,
        ..Order::default()
    }
}

pub(crate) fn orders(cases: &mut Cases) {
    let mut add = |accepted: bool, stops: bool, why: &str, object: Vec<u8>| {
        cases.add("order", accepted, why, &object, json!({ "n": 3, "stops": stops }));
    };
    let order = end_server();
    let changed = |change: &dyn Fn(&mut Order)| signed(1, with(order.clone(), |it| change(it)).encode_to_vec());
    add(true, false, "the end of a server", changed(&|_| {}));
    add(true, false, "nothing of it counts", changed(&|it| it.last_entry = 0));
    add(true, false, "without a reason", changed(&|it| it.reason.clear()));
    let credentials = Order {
        kind: OrderKind::EndCredentials.into(),
        server_id: Bytes::new(),
        domain_id: Bytes::new(),
        last_entry: 0,
        credential_id: vec![0x22; 16].into(),
        ..order.clone()
    };
    add(
        true,
        false,
        "the end of credentials",
        signed(1, credentials.encode_to_vec()),
    );
    let stay = with(credentials.clone(), |it| {
        it.servers = vec![vec![1; 16].into(), vec![2; 16].into()]
    });
    add(
        true,
        false,
        "the end of credentials, and who stays",
        signed(1, stay.encode_to_vec()),
    );
    let tenant = Order {
        kind: OrderKind::SetTenant.into(),
        credential_id: Bytes::new(),
        tenant: "someone".to_owned(),
        ..credentials.clone()
    };
    add(true, false, "a tenant", signed(1, tenant.encode_to_vec()));
    let none = with(tenant.clone(), |it| it.tenant.clear());
    add(true, false, "no tenant", signed(1, none.encode_to_vec()));

    add(false, true, "version 2", changed(&|it| it.version = 2));
    add(false, true, "an unknown kind", changed(&|it| it.kind = 9));
    add(false, false, "no kind", changed(&|it| it.kind = 0));
    add(false, false, "version 0", changed(&|it| it.version = 0));
    add(false, false, "another number", changed(&|it| it.number = 4));
    add(
        false,
        false,
        "another vault's",
        changed(&|it| it.vault_id = vec![0; 16].into()),
    );
    add(false, false, "an impossible time", changed(&|it| it.time_s = i64::MAX));
    add(
        false,
        false,
        "a reason of 1,025 bytes",
        changed(&|it| it.reason = "x".repeat(1025)),
    );
    add(
        false,
        false,
        "a server's id of 15 bytes",
        changed(&|it| it.server_id = vec![0; 15].into()),
    );
    add(false, false, "no domain", changed(&|it| it.domain_id = Bytes::new()));
    add(
        false,
        false,
        "a field of another kind",
        changed(&|it| it.tenant = "someone".to_owned()),
    );
    let two = with(credentials, |it| it.server_id = order.server_id.clone());
    add(
        false,
        false,
        "a server at the end of credentials",
        signed(1, two.encode_to_vec()),
    );
    let long = with(tenant, |it| it.tenant = "x".repeat(256));
    add(false, false, "a tenant of 256 bytes", signed(1, long.encode_to_vec()));
    let encoded = order.encode_to_vec();
    let more = [&encoded[..], &[0x68, 1]].concat();
    add(false, false, "an unknown field", signed(1, more));
    add(false, false, "signed by a server", signed(3, encoded.clone()));
    add(
        false,
        false,
        "a field behind the signature",
        [&signed(1, encoded)[..], &[0x18, 1]].concat(),
    );
}
